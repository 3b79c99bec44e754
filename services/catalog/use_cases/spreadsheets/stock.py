"""Stock as CSV: how much of each lot lies at each location, as counted."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.catalog.models import Location, Lot, StockLevel
from services.catalog.rules import Bucket, Reason, free_bucket
from services.catalog.use_cases.ledger import level_at, lock_lots, locked_lot
from services.catalog.use_cases.spreadsheets.lots import ids_by_code
from services.catalog.use_cases.spreadsheets.reading import (
    MOST_QUANTITY,
    Column,
    Outcome,
    Row,
    RowError,
    code,
    read_rows,
    whole,
    write_rows,
)
from services.catalog.use_cases.stock import correct, take_in
from shared.rows import take_turns

COLUMNS = {
    "lot": Column(code),
    "location": Column(code),
    "on_hand": Column(whole(0, MOST_QUANTITY)),
}


def import_stock(session: Session, text: str, actor: str, dry_run: bool) -> Outcome:
    """Bring the stock of a file's lots and locations to what was counted there.

    `on_hand` counts everything that lies there, also what is promised. Where a lot never lay
    before, the goods are received; elsewhere the difference to the books is adjusted with
    reason `counted`. What is promised cannot be counted away.

    Raises:
        ImportRefused: a row is wrong; nothing was written.
    """
    rows, errors = read_rows(text, COLUMNS)
    outcome = Outcome(rows=len(rows), errors=errors, dry_run=dry_run)
    # Many lots are locked here, and by the consumer in another order: taking turns with it
    # costs less than a deadlock.
    take_turns(session, "consumer")
    lot_ids = ids_by_code(session, Lot.code, [row.cells["lot"] for row in rows])
    lock_lots(session, lot_ids.values())
    locations = {
        location.code: location
        for location in session.scalars(
            select(Location).where(Location.code.in_({row.cells["location"] for row in rows}))
        )
    }
    first_rows: dict[tuple[str, str], int] = {}
    todo: list[tuple[Lot, Location, int]] = []
    for row in rows:
        lot_code, location_code = row.cells["lot"], row.cells["location"]
        first = first_rows.setdefault((lot_code, location_code), row.number)
        if first != row.number:
            message = f"lot and location are in row {first} already"
            outcome.errors.append(RowError(row.number, None, message))
        elif lot_code not in lot_ids:
            outcome.errors.append(RowError(row.number, "lot", f"no lot {lot_code}"))
        elif location_code not in locations:
            outcome.errors.append(RowError(row.number, "location", f"no location {location_code}"))
        else:
            lot, location = locked_lot(session, lot_ids[lot_code]), locations[location_code]
            if _fits(lot, location, row, outcome):
                todo.append((lot, location, row.cells["on_hand"]))
    outcome.refuse_if_wrong()
    if not outcome.errors:
        for lot, location, counted in todo:
            _put(session, lot, location, counted, actor, outcome)
    return outcome


def _present(lot: Lot, location: Location) -> StockLevel | None:
    return next((level for level in lot.levels if level.location_id == location.id), None)


def _fits(lot: Lot, location: Location, row: Row, outcome: Outcome) -> bool:
    """Tell whether the count can be booked."""
    level = _present(lot, location)
    on_hand = 0 if level is None else level.on_hand
    free = 0 if level is None else getattr(level, free_bucket(lot.status))
    difference = row.cells["on_hand"] - on_hand
    if difference > 0 and not location.is_open:
        outcome.errors.append(RowError(row.number, "location", f"{location.code} is closed"))
        return False
    if free + difference < 0:
        message = f"{on_hand - free} of {lot.code} are promised; no fewer can be counted"
        outcome.errors.append(RowError(row.number, "on_hand", message))
        return False
    return True


def _put(
    session: Session, lot: Lot, location: Location, counted: int, actor: str, outcome: Outcome
) -> None:
    level = _present(lot, location)
    difference = counted - (0 if level is None else level.on_hand)
    if not difference:
        outcome.unchanged += 1
        return
    if level is None:
        outcome.created += 1
    else:
        outcome.changed += 1
    if outcome.dry_run:
        return
    if level is None:
        take_in(session, lot, level_at(lot, location.id), counted, actor)
    else:
        correct(session, lot, level, difference, Reason.COUNTED, actor)


def export_stock(session: Session) -> str:
    """Return what lies where as the CSV that `import_stock` takes."""
    on_hand = sum(
        (getattr(StockLevel, bucket) for bucket in Bucket if bucket is not Bucket.AVAILABLE),
        start=StockLevel.available,
    )
    rows = session.execute(
        select(Lot.code, Location.code, on_hand)
        .join(Lot, Lot.id == StockLevel.lot_id)
        .join(Location, Location.id == StockLevel.location_id)
        .order_by(Lot.code, Location.code)
    )
    return write_rows(COLUMNS, rows)
