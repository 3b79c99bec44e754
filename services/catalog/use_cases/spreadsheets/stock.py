"""Stock as CSV: how much of each lot lies at each location, as counted."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from services.catalog.batch import CatalogBatch
from services.catalog.models import Location, Lot, StockLevel, StockMovement
from services.catalog.rules import (
    ACCOUNTED,
    Account,
    Bucket,
    OutdatedCount,
    Reason,
    Since,
    correction_by_book,
    correction_by_moment,
    free_bucket,
)
from services.catalog.use_cases.spreadsheets.lots import ids_by_code
from services.catalog.use_cases.stock.ledger import level_at, lock_lot, lock_lots
from services.catalog.use_cases.stock.levels import correct, take_in
from shared.runtime import clock
from shared.runtime.ids import made_at
from shared.runtime.locks import advisory_lock
from shared.runtime.spreadsheets import Outcome, Row, Sheet

_Place = tuple[UUID, UUID]


def import_stock(batch: CatalogBatch, sheet: Sheet, actor: str, dry_run: bool) -> Outcome:
    """Bring the stock of a file's lots and locations to the counted quantities.

    `on_hand` counts everything that lies there, also what is promised. Where a lot never lay
    before, the goods are received; elsewhere the difference to the books is adjusted with
    reason `counted`. A count names its reference: the moment (`counted_at`), after which movements
    are accounted for, or the balance that was exported (`book`, `book_at`). A count cannot take
    away what is promised.

    Raises:
        ImportRefused: a row is wrong; nothing was written.
    """
    rows, outcome = sheet.rows, sheet.outcome(dry_run)
    # The consumer locks lots in another order: to wait for it costs less than a deadlock.
    advisory_lock(batch.session, "consumer")
    lot_ids = ids_by_code(batch.session, Lot.code, [row.cells["lot"] for row in rows])
    lock_lots(batch, lot_ids.values())
    locations = {
        location.code: location
        for location in batch.session.scalars(
            select(Location).where(Location.code.in_({row.cells["location"] for row in rows}))
        )
    }
    movements = _movements(batch.session, rows, lot_ids)
    first_lines: dict[tuple[str, str], int] = {}
    todo: list[tuple[Row, Lot, Location, int]] = []
    for row in rows:
        lot_code, location_code = row.cells["lot"], row.cells["location"]
        first = first_lines.setdefault((lot_code, location_code), row.line)
        if first != row.line:
            outcome.add_error(row.line, None, f"lot and location are in line {first} already")
        elif lot_code not in lot_ids:
            outcome.add_error(row.line, "lot", f"no lot {lot_code}")
        elif location_code not in locations:
            outcome.add_error(row.line, "location", f"no location {location_code}")
        else:
            lot, location = lock_lot(batch, lot_ids[lot_code]), locations[location_code]
            difference = _difference(lot, location, row, movements, outcome)
            if difference is not None:
                todo.append((row, lot, location, difference))
    outcome.refuse_errors()
    if not outcome.errors:
        for row, lot, location, difference in todo:
            _put(batch, row, lot, location, difference, actor, outcome)
    return outcome


def _movements(
    session: Session, rows: list[Row], lot_ids: Mapping[str, UUID]
) -> Mapping[_Place, list[StockMovement]]:
    """Return the movements at the lots' locations since the first moment of the rows."""
    moments = {row.cells["lot"]: _moment(row) for row in rows if _moment(row) is not None}
    wanted = [lot_ids[lot] for lot in moments if lot in lot_ids]
    found: dict[_Place, list[StockMovement]] = {}
    if not wanted:
        return found
    outside = list(Account)
    statement = select(StockMovement).where(
        StockMovement.lot_id.in_(wanted),
        StockMovement.at > min(moment for moment in moments.values() if moment),
        or_(StockMovement.from_bucket.in_(outside), StockMovement.to_bucket.in_(outside)),
    )
    for movement in session.scalars(statement):
        found.setdefault((movement.lot_id, movement.location_id), []).append(movement)
    return found


def _moment(row: Row) -> datetime | None:
    moment: datetime | None = row.cells.get("counted_at") or row.cells.get("book_at")
    return moment


def _since(movements: list[StockMovement], row: Row) -> Since:
    moment, counted_at = _moment(row), row.cells.get("counted_at")
    moved, unclear = 0, set()
    for movement in movements:
        if moment is None or movement.at <= moment:
            continue
        accounted = movement.reason in ACCOUNTED and movement.sale_id is None
        if accounted and counted_at is not None and _happened_at(movement) <= counted_at:
            continue  # booked after the count, and gone before it
        if not accounted:
            unclear.add("sales of a till" if movement.sale_id else movement.reason)
        elif movement.to_bucket in list(Bucket):
            moved += movement.quantity
        else:
            moved -= movement.quantity
    return Since(moved, unclear)


def _happened_at(movement: StockMovement) -> datetime:
    """Return when the event was recorded that a movement follows from.

    The movement itself may be much later: catalog's worker may have been down.
    """
    try:
        cause = UUID(movement.cause)
    except ValueError:
        return movement.at
    return made_at(cause) if cause.version == 7 else movement.at


def _present(lot: Lot, location: Location) -> StockLevel | None:
    return next((level for level in lot.levels if level.location_id == location.id), None)


def _difference(
    lot: Lot,
    location: Location,
    row: Row,
    movements: Mapping[_Place, list[StockMovement]],
    outcome: Outcome,
) -> int | None:
    """Return by how much a row changes the books; None, with the mistake noted, if it cannot."""
    level = _present(lot, location)
    on_hand = 0 if level is None else level.on_hand
    free = 0 if level is None else getattr(level, free_bucket(lot.status))
    counted: int = row.cells["on_hand"]
    counted_at = row.cells.get("counted_at")
    if counted_at is not None and counted_at > clock.now():
        outcome.add_error(row.line, "counted_at", f"{counted_at} is in the future")
        return None
    since = _since(movements.get((lot.id, location.id), []), row)
    try:
        if level is None and not row.cells.get("book"):
            difference = counted
        elif counted_at is not None:
            difference = correction_by_moment(counted, on_hand, since)
        else:
            difference = correction_by_book(counted, on_hand, row.cells.get("book"), since)
    except OutdatedCount as error:
        outcome.add_error(row.line, "on_hand", error.detail)
        return None
    if difference > 0 and not location.is_open:
        outcome.add_error(row.line, "location", f"{location.code} is closed")
        return None
    if free + difference < 0:
        message = f"{on_hand - free} of {lot.code} are promised; no fewer can be counted"
        outcome.add_error(row.line, "on_hand", message)
        return None
    return difference


def _put(
    batch: CatalogBatch,
    row: Row,
    lot: Lot,
    location: Location,
    difference: int,
    actor: str,
    outcome: Outcome,
) -> None:
    level = _present(lot, location)
    if not difference:
        outcome.unchanged += 1
        return
    present = 0 if level is None else level.on_hand
    outcome.add_changes(
        row.line,
        f"{lot.code} at {location.code}",
        {"on_hand": present},
        {"on_hand": present + difference},
    )
    if level is None:
        outcome.created += 1
    else:
        outcome.changed += 1
    if outcome.dry_run:
        return
    if level is None:
        take_in(batch, lot, level_at(lot, location.id), difference, actor)
    else:
        correct(batch, lot, level, difference, Reason.COUNTED, actor)


def export_stock(session: Session) -> Iterator[tuple[Any, ...]]:
    """Return all stock in the format of `import_stock`, with the books and their moment."""
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
    read_at = clock.now()
    for lot, location, quantity in rows:
        yield lot, location, quantity, quantity, read_at, None
