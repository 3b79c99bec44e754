"""Reserve stock for an order: for all of its lines, or for none."""

from collections import Counter
from collections.abc import Iterable, Sequence
from uuid import UUID

from services.catalog.batch import CatalogBatch
from services.catalog.models import Reservation, StockLevel
from services.catalog.rules import (
    Bucket,
    Reason,
    ReservationStatus,
    ReservedLot,
    ShortLine,
    Take,
    WantedLine,
    check_reservation_step,
    plan,
)
from services.catalog.use_cases.stock.ledger import move
from services.catalog.use_cases.stock.picking import (
    load_first_pickable,
    load_pickable,
    pickable_levels,
)
from services.catalog.use_cases.stock.reservation_lines import add_reserved, replace_reserved
from services.catalog.use_cases.stock.reservations import (
    ORDERS,
    lock_reservation,
    release_recalled,
)
from shared.events import (
    OrderPlaced,
    OrderReinstated,
    PlacedLine,
    ReservedLine,
    Shortfall,
    StockRefused,
    StockReserved,
    TakenLot,
)
from shared.runtime import clock


def load_for_placement(
    batch: CatalogBatch, orders: Sequence[OrderPlaced | OrderReinstated]
) -> None:
    """Lock the reservations of these orders and the lots from which they may take."""
    batch.load_for_update(Reservation.order_id, (order.order_id for order in orders))
    wanted: Counter[UUID] = Counter()
    stations: set[UUID] = set()
    again: set[UUID] = set()
    for order in orders:
        if isinstance(order, OrderReinstated):
            again.update(line.variant_id for line in order.lines)
            continue
        for line in order.lines:
            wanted[line.variant_id] += line.quantity
        if order.channel == "station":
            stations.add(order.site_id)
    # An order that asks again may free any lot, and does not say at which station it is.
    load_pickable(batch, again)
    load_first_pickable(batch, wanted, stations)


def reserve_stock(batch: CatalogBatch, order: OrderPlaced) -> None:
    """Reserve all lines of a new order or none, and record the outcome.

    If the order has a reservation already, nothing changes.
    """
    if batch.get_for_update(Reservation.order_id, order.order_id) is not None:
        return
    taken, shortfalls = _plan(batch, order.channel, order.site_id, order.lines)
    reservation = Reservation(
        order_id=order.order_id,
        channel=order.channel,
        site_id=order.site_id,
        status=_status(shortfalls).value,
        reason=None,
        changed_at=clock.now(),
        version=0,
    )
    batch.track(Reservation.order_id, reservation)
    add_reserved(batch, order.order_id, _reserved_lots(taken))
    _record_outcome(batch, reservation, taken, shortfalls)


def reserve_again(batch: CatalogBatch, order: OrderReinstated) -> None:
    """Reserve once more for an order that was paid late, or whose lot was recalled.

    After a recall, all lots of the order are freed first; the order may get those of them again
    that are not recalled.

    Raises:
        UnknownReservation: the order has no reservation.
        WrongReservationState: its stock is set aside, or has left.
    """
    reservation = lock_reservation(batch, order.order_id)
    release_recalled(batch, reservation)
    check_reservation_step(reservation.status, ReservationStatus.RESERVED)
    taken, shortfalls = _plan(batch, reservation.channel, reservation.site_id, order.lines)
    replace_reserved(batch, order.order_id, _reserved_lots(taken))
    reservation.status, reservation.reason = _status(shortfalls).value, None
    reservation.changed_at = clock.now()
    _record_outcome(batch, reservation, taken, shortfalls)


def _status(shortfalls: Sequence[ShortLine]) -> ReservationStatus:
    return ReservationStatus.REFUSED if shortfalls else ReservationStatus.RESERVED


def _plan(
    batch: CatalogBatch, channel: str, site_id: UUID, lines: Iterable[PlacedLine]
) -> tuple[list[Take[StockLevel]], list[ShortLine]]:
    wanted = [WantedLine(line.line_no, line.variant_id, line.quantity) for line in lines]
    variant_ids = {line.variant_id for line in wanted}
    load_pickable(batch, variant_ids - batch.pickable.keys())
    station = site_id if channel == "station" else None
    taken, short = plan(
        wanted, {each: pickable_levels(batch, each, station) for each in variant_ids}
    )
    if short and not batch.partly_pickable.isdisjoint(variant_ids):
        load_pickable(batch, variant_ids)
        return plan(wanted, {each: pickable_levels(batch, each, station) for each in variant_ids})
    return taken, short


def _reserved_lots(taken: Iterable[Take[StockLevel]]) -> list[ReservedLot]:
    return [
        ReservedLot(
            take.line.line_no,
            take.line.variant_id,
            take.source.lot_id,
            take.source.location_id,
            take.quantity,
        )
        for take in taken
    ]


def _record_outcome(
    batch: CatalogBatch,
    reservation: Reservation,
    taken: Sequence[Take[StockLevel]],
    shortfalls: Sequence[ShortLine],
) -> None:
    """Move the taken stock to `reserved` and record `StockReserved`, or record `StockRefused`."""
    order_id = reservation.order_id
    if shortfalls:
        short = [
            Shortfall(
                line_no=each.line.line_no,
                variant_id=each.line.variant_id,
                requested=each.line.quantity,
                available=each.available,
            )
            for each in shortfalls
        ]
        batch.record(reservation, StockRefused(order_id=order_id, shortfalls=short))
        return
    for take in taken:
        move(
            batch,
            take.source,
            Bucket.AVAILABLE,
            Bucket.RESERVED,
            take.quantity,
            Reason.RESERVED,
            actor=ORDERS,
            order_id=order_id,
        )
    batch.record(reservation, StockReserved(order_id=order_id, lines=_reserved_lines(taken)))


def _reserved_lines(taken: Iterable[Take[StockLevel]]) -> list[ReservedLine]:
    lines: dict[int, ReservedLine] = {}
    for take in taken:
        line = lines.setdefault(
            take.line.line_no,
            ReservedLine(line_no=take.line.line_no, variant_id=take.line.variant_id, lots=[]),
        )
        lot = take.source.lot
        line.lots.append(
            TakenLot(
                lot_id=lot.id,
                lot_code=lot.code,
                location_id=take.source.location_id,
                producer_id=lot.producer_id,
                quantity=take.quantity,
            )
        )
    return list(lines.values())
