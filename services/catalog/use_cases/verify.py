"""Compare catalog's rows with each other, and list facts to compare with other services."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session, selectinload

from services.catalog.models import (
    Allotment,
    Device,
    Lot,
    Overdraft,
    Reservation,
    ReservationLine,
    StationSale,
    StockLevel,
    StockMovement,
)
from services.catalog.rules import (
    BUCKET_OF,
    Account,
    AllotmentStatus,
    LotStatus,
    OverdraftStatus,
    ReservationStatus,
    Sold,
    sale_moves,
)
from services.catalog.use_cases.stock import reconciliation
from shared.runtime.verify import Difference, FactKind, Report, by_lot, read_snapshot, stream

#: What each table is called in the report.
_COUNTED = {
    "lots": Lot,
    "stock_levels": StockLevel,
    "stock_movements": StockMovement,
    "reservations": Reservation,
    "allotments": Allotment,
    "overdrafts": Overdraft,
}

Lots = dict[str, int]


def compare(session: Session) -> Report:
    """Return the differences between catalog's rows; reads them all, at one moment.

    A sale that is not covered yet is a difference: its quantity is in no balance.
    """
    read_snapshot(session)
    report = Report("catalog", {})
    for name, model in _COUNTED.items():
        report.checked[name] = session.scalar(select(func.count()).select_from(model)) or 0
    report.checked["station_sales"] = 0
    report.add(_of_books(session))
    report.add(_of_stopped_lots(session))
    report.add(_of_recalled_lots(session))
    report.add(_of_overdrafts(session))
    report.add(_of_sales(session, report))
    return report


def _of_books(session: Session) -> Iterator[Difference]:
    for found in reconciliation.reconcile(session).differences:
        ids: dict[str, object] = {
            "lot_code": found.lot_code,
            "location_code": found.location_code,
        }
        what = f"Lot {found.lot_code} at {found.location_code}"
        if found.allotment_id is not None:
            ids["allotment_id"] = found.allotment_id
            what = f"Allotment {found.allotment_id} of lot {found.lot_code}"
        yield Difference(
            f"balance_{found.against}",
            ids,
            f"{found.bucket} {found.expected}",
            f"{found.bucket} {found.balance}",
            f"{what}: {found.bucket} is {found.balance}, and by the {found.against} should be "
            f"{found.expected}.",
        )


def _of_stopped_lots(session: Session) -> Iterator[Difference]:
    """Go through allotments that devices may sell from although their lot must not be sold."""
    rows = session.execute(
        select(Allotment.id, Allotment.status, Lot.code, Lot.status.label("lot_status"))
        .join(Lot, Lot.id == Allotment.lot_id)
        .where(
            Lot.status != LotStatus.RELEASED.value,
            Allotment.status.not_in(
                [AllotmentStatus.SUSPENDED.value, AllotmentStatus.CLOSED.value]
            ),
        )
    )
    for row in rows:
        yield Difference(
            "stopped_lot",
            {"allotment_id": row.id, "lot_code": row.code},
            "suspended",
            row.status,
            f"Lot {row.code} is {row.lot_status}, and allotment {row.id} of it is {row.status}.",
        )


def _of_recalled_lots(session: Session) -> Iterator[Difference]:
    """Go through orders that have a recalled lot set aside and did not ask for other stock."""
    rows = session.execute(
        select(Reservation.order_id, Reservation.status, Lot.id, Lot.code)
        .distinct()
        .join(ReservationLine, ReservationLine.order_id == Reservation.order_id)
        .join(Lot, Lot.id == ReservationLine.lot_id)
        .where(
            Lot.status == LotStatus.RECALLED.value,
            Reservation.status.in_([status.value for status in BUCKET_OF]),
        )
        .order_by(Reservation.order_id)
    )
    for row in rows:
        yield Difference(
            "recalled_lot",
            {"order_id": row.order_id, "lot_id": row.id, "lot_code": row.code},
            "other lots, or none",
            row.status,
            f"Lot {row.code} is recalled, and it is still {row.status} for order {row.order_id}.",
        )


def _of_overdrafts(session: Session) -> Iterator[Difference]:
    rows = session.execute(
        select(Overdraft.sale_id, Overdraft.number, Overdraft.epoch, Overdraft.reason, Device.code)
        .outerjoin(Device, Device.id == Overdraft.device_id)
        .where(Overdraft.status == OverdraftStatus.OPEN.value)
        .order_by(Overdraft.id)
    )
    for row in rows:
        yield Difference(
            "overdraft open",
            {"sale_id": row.sale_id},
            "settled",
            f"open: {row.reason}",
            f"Sale {row.number} of device {row.code} (epoch {row.epoch}) is not covered by "
            f"anything ({row.reason}); settle it.",
        )


def _of_sales(session: Session, report: Report) -> Iterator[Difference]:
    """Compare each sale, void and return with the movements that it should have made."""
    statement = (
        select(
            StationSale.sale_id,
            StationSale.kind,
            StationSale.status,
            StationSale.lines,
            Overdraft.status.label("overdraft"),
            Overdraft.lines.label("uncovered"),
        )
        .outerjoin(Overdraft, Overdraft.sale_id == StationSale.sale_id)
        .order_by(StationSale.sale_id)
    )
    moved = _Moved(session)
    for row in stream(session, statement):
        report.checked["station_sales"] += 1
        for sale_id, found in moved.before(row.sale_id):
            yield from _unlike(sale_id, "sale", {}, found)
        if not sale_moves(row.status, row.overdraft):
            expected = {}
        else:
            lines = row.uncovered if row.overdraft is not None else row.lines
            expected = by_lot([(line.lot_id, line.quantity) for line in map(Sold.from_json, lines)])
        yield from _unlike(row.sale_id, row.kind, expected, moved.of(row.sale_id))
    for sale_id, found in moved.before(None):
        yield from _unlike(sale_id, "sale", {}, found)


def _unlike(sale_id: UUID, kind: str, expected: Lots, found: Lots) -> Iterator[Difference]:
    if expected != found:
        yield Difference(
            "station_sale_movements",
            {"sale_id": sale_id},
            _words(expected),
            _words(found),
            f"The {kind} {sale_id} should have moved {_words(expected)}, and moved "
            f"{_words(found)}.",
        )


def _words(lots: Lots) -> str:
    return ", ".join(f"{quantity} of {lot}" for lot, quantity in sorted(lots.items())) or "nothing"


class _Moved:
    """What each sale moved, read in the order of the sales' ids beside them."""

    def __init__(self, session: Session) -> None:
        self._rows = _moved_lots(session)
        self._next: tuple[UUID, Lots] | None = next(self._rows, None)

    def before(self, sale_id: UUID | None) -> Iterator[tuple[UUID, Lots]]:
        """Go through the earlier sales whose movements nobody asked for, with what they moved."""
        while self._next is not None and (sale_id is None or self._next[0] < sale_id):
            yield self._next
            self._next = next(self._rows, None)

    def of(self, sale_id: UUID) -> Lots:
        """Return what a sale moved. Call it in the order of the ids, each after `before`."""
        if self._next is None or self._next[0] != sale_id:
            return {}
        found, self._next = self._next[1], next(self._rows, None)
        return found


def _moved_lots(
    session: Session, sale_ids: Iterable[UUID] | None = None
) -> Iterator[tuple[UUID, Lots]]:
    """Go through (sale, lots that left the stock or came back into it), in the order of the ids."""
    statement = (
        select(
            StockMovement.sale_id,
            StockMovement.lot_id,
            func.sum(StockMovement.quantity).label("quantity"),
        )
        .where(
            StockMovement.sale_id.is_not(None),
            (StockMovement.to_bucket == Account.CONSUMED.value)
            | (StockMovement.from_bucket == Account.RESTOCKED.value),
        )
        .group_by(StockMovement.sale_id, StockMovement.lot_id)
        .order_by(StockMovement.sale_id, StockMovement.lot_id)
    )
    if sale_ids is not None:
        statement = statement.where(StockMovement.sale_id.in_(list(sale_ids)))
    present: tuple[UUID, Lots] | None = None
    for row in stream(session, statement):
        if present is not None and present[0] != row.sale_id:
            yield present
            present = None
        if present is None:
            present = (row.sale_id, {})
        present[1][str(row.lot_id)] = int(row.quantity)
    if present is not None:
        yield present


# --- Facts to compare with other services ----------------------------------------------------

#: A reservation in these states holds its lots, or handed them out.
_HOLDING = (
    ReservationStatus.RESERVED,
    ReservationStatus.COMMITTED,
    ReservationStatus.CONSUMED,
    ReservationStatus.RETURNED,
)


def reservation_values(
    session: Session, reservations: Sequence[Reservation]
) -> Iterator[Mapping[str, Any]]:
    """Go through reservations: the status of each, and the quantity that it holds of each lot."""
    for reservation in reservations:
        holds = reservation.lines if reservation.status in _HOLDING else ()
        yield {
            "status": reservation.status,
            "lots": by_lot((line.lot_id, line.quantity) for line in holds),
        }


def sale_values(session: Session, sales: Sequence[StationSale]) -> Iterator[Mapping[str, Any]]:
    """Go through station sales, voids and returns: status, and the quantity moved of each lot.

    The status is `booked`, `reduced` (it undid what was never booked), `overdrawn` or `disputed`;
    of these two, once they are settled, `covered`, `lost` or `voided`.
    """
    sale_ids = [sale.sale_id for sale in sales]
    moved = dict(_moved_lots(session, sale_ids))
    settled = {
        row.sale_id: row.status
        for row in session.execute(
            select(Overdraft.sale_id, Overdraft.status).where(
                Overdraft.sale_id.in_(sale_ids), Overdraft.status != OverdraftStatus.OPEN.value
            )
        )
    }
    for sale in sales:
        yield {
            "kind": sale.kind,
            "status": settled.get(sale.sale_id, sale.status),
            "lots": moved.get(sale.sale_id, {}),
        }


#: The facts of catalog, by their kind in the HTTP API.
FACTS: Mapping[str, FactKind[Any]] = {
    "reservations": FactKind(
        select(Reservation).options(selectinload(Reservation.lines)),
        Reservation.order_id,
        reservation_values,
    ),
    "station_sales": FactKind(select(StationSale), StationSale.sale_id, sale_values),
}
