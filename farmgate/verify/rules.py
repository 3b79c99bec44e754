"""The rules by which services' records of one order, or of one station sale, agree.

Each service uses its own names for states. The rules assume that all events were handled: two
services may differ while an event is on its way, so the verifier compares differences again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

#: Lot id → quantity, as pairs in the order of their ids.
Lots = tuple[tuple[str, int], ...]


class ServiceRecord(NamedTuple):
    """One service's record of an order or a station sale."""

    state: str
    lots: Lots = ()
    #: Templates of the messages to an order's buyer; `voided` for a voided sale.
    marks: tuple[str, ...] = ()
    #: `sale`, `void` or `return`; empty for orders.
    kind: str = ""


@dataclass(frozen=True)
class Difference:
    """A difference between two records that should agree."""

    #: The name of the comparison that found it.
    check: str
    #: The ids of the records, by name.
    ids: Mapping[str, str]
    expected: str
    found: str
    #: The difference in one sentence.
    detail: str
    #: What to do next, in one sentence.
    todo: str
    #: The service whose own rows disagree; empty if two services disagree.
    service: str = ""


class OrderSides(NamedTuple):
    """One order's records in the four services; None where a service has none."""

    order: ServiceRecord | None
    reservation: ServiceRecord | None
    shipment: ServiceRecord | None
    notice: ServiceRecord | None


class SaleSides(NamedTuple):
    """One station sale's (or void's, or return's) records in orders and catalog."""

    sale: ServiceRecord | None
    booking: ServiceRecord | None


NONE = "nothing"


@dataclass(frozen=True)
class ExpectedRecords:
    """The records that the other services should have of an order in one state."""

    #: Allowed states of (reservation, shipment).
    pairs: frozenset[tuple[str, str]]
    #: The template of a message that the buyer must have been sent.
    message: str
    #: Whether goods are reserved or handed over, so that all records must have the same lots.
    has_goods: bool = True


def _pairs(*pairs: tuple[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(pairs)


_OVER = _pairs(("consumed", "delivered"), ("consumed", "collected"))
#: State of an order → the expected records. `placed` is missing: catalog answers within seconds,
#: so an order that stays placed is a difference.
EXPECTED: Mapping[str, ExpectedRecords] = {
    "reserved": ExpectedRecords(_pairs(("held", NONE)), "order_placed"),
    "confirmed": ExpectedRecords(_pairs(("committed", "planned")), "order_confirmed"),
    "in_fulfilment": ExpectedRecords(_pairs(("committed", "packed")), "order_confirmed"),
    # An order with refused goods stays shipped until they are back.
    "shipped": ExpectedRecords(
        _pairs(("consumed", "handed_over"), ("consumed", "refused")), "order_confirmed"
    ),
    "delivered": ExpectedRecords(_OVER, "order_confirmed"),
    "collected": ExpectedRecords(_OVER, "order_confirmed"),
    "completed": ExpectedRecords(_OVER, "order_confirmed"),
    "returned": ExpectedRecords(_pairs(("returned", "returned")), "order_returned"),
    # With a cancelled shipment: its lots were recalled, and catalog found no replacement.
    "rejected": ExpectedRecords(
        _pairs(("refused", NONE), ("refused", "cancelled")), "order_rejected", has_goods=False
    ),
    # Before an operator's approval, and after a refusal, orders asks catalog for no goods.
    "awaiting_approval": ExpectedRecords(
        _pairs((NONE, NONE)), "approval_requested", has_goods=False
    ),
    "declined": ExpectedRecords(_pairs((NONE, NONE)), "order_declined", has_goods=False),
    "expired": ExpectedRecords(_pairs(("released", NONE)), "order_expired", has_goods=False),
    "cancelled": ExpectedRecords(
        _pairs(
            ("refused", NONE),
            ("released", NONE),
            ("released", "cancelled"),
            # The goods left before the cancellation arrived; they may have come back since.
            ("consumed", "refused"),
            ("returned", "returned"),
            *_OVER,
        ),
        "order_cancelled",
        has_goods=False,
    ),
}


def order_differences(order_id: str, sides: OrderSides) -> list[Difference]:
    """Return the differences between the services' records of an order."""
    order = sides.order
    if order is None:
        return [_unknown_order(order_id, name) for name in _services_with_records(sides)]
    expected = EXPECTED.get(order.state)
    if expected is None:
        return [_undecided(order_id, sides)]
    found = []
    pair = _state(sides.reservation), _state(sides.shipment)
    if pair not in expected.pairs:
        found.append(_state_mismatch(order_id, order, pair, expected))
    elif expected.has_goods:
        for name, other in (("reservation", sides.reservation), ("shipment", sides.shipment)):
            if other is not None and other.lots != order.lots:
                found.append(_lots_mismatch(order_id, order, name, other))
    if sides.notice is None or expected.message not in sides.notice.marks:
        found.append(_missing_message(order_id, order, expected.message))
    return found


def sale_differences(sale_id: str, sides: SaleSides) -> list[Difference]:
    """Return the differences between orders' and catalog's records of a station sale."""
    sale, booking = sides.sale, sides.booking
    if sale is None:
        return [_unknown_sale(sale_id, booking)] if booking is not None else []
    wanted = _bookings(sale)
    if _state(booking) not in wanted:
        return [_booking_mismatch(sale_id, sale, booking, wanted)]
    if booking is not None and booking.state == "booked" and booking.lots != sale.lots:
        return [_booked_lots_mismatch(sale_id, sale, booking)]
    return []


#: The checks by which orders and catalog each report open disputes.
DISPUTED, UNCOVERED = "station_sale_disputed", "overdraft open"


def merge_reports(own: Iterable[Difference]) -> list[Difference]:
    """Return the services' own differences, each dispute once and with its command.

    Orders and catalog both report a sale that no stock covers; orders' report is kept.
    """
    every = list(own)
    uncovered = {each.ids["sale_id"] for each in every if each.check == UNCOVERED}
    disputed = {each.ids["sale_id"] for each in every if each.check == DISPUTED}
    kept = []
    for each in every:
        if each.check == UNCOVERED and each.ids["sale_id"] in disputed:
            continue
        if each.check in (UNCOVERED, DISPUTED):
            sale_id = each.ids["sale_id"]
            settle = f"farmgate devices settle {sale_id} cover --reason … (or lose)"
            acknowledge = f"farmgate devices acknowledge {sale_id} --note …"
            each = replace(
                each, todo=f"Decide it: {settle if sale_id in uncovered else acknowledge}"
            )
        kept.append(each)
    return kept


def _bookings(sale: ServiceRecord) -> tuple[str, ...]:
    """Return the allowed states of catalog's booking of a sale, void or return.

    Open disputes are allowed here, since orders and catalog report them by their own checks.
    """
    if "voided" in sale.marks:
        return (NONE,)  # voided before it was uploaded, so it moved no stock
    match sale.state:
        case "accepted" if sale.kind == "sale":
            return ("booked",)
        case "accepted":
            # `reduced`: the sale was never booked, so its return moved no stock.
            return ("booked", "reduced")
        case "waiting":
            return (NONE,)
        case "settled":
            return ("covered", "lost", "voided")
        case "disputed" if sale.kind == "sale":
            # An unreadable entry has no lots, so catalog opens no overdraft.
            return ("overdrawn", "disputed") if sale.lots else ("disputed", NONE)
        case _:  # a disputed or acknowledged void or return moves no stock
            return (NONE,)


def _state(record: ServiceRecord | None) -> str:
    return NONE if record is None else record.state


def format_lots(lots: Lots) -> str:
    """Format lots and their quantities."""
    return ", ".join(f"{quantity} of lot {lot_id}" for lot_id, quantity in lots) or "no lots"


def _services_with_records(sides: OrderSides) -> Iterable[str]:
    if sides.reservation is not None:
        yield "catalog"
    if sides.shipment is not None:
        yield "logistics"
    if sides.notice is not None:
        yield "notifications"


def _trace(order_id: str) -> str:
    return f"See its events and what is parked: farmgate trace {order_id}"


def _unknown_order(order_id: str, service: str) -> Difference:
    return Difference(
        "order_unknown",
        {"order_id": order_id},
        "an order",
        f"{service} has a record",
        f"{service} has a record of order {order_id}, which orders does not have.",
        "If the database of orders was restored, it lost this order; the order's events are "
        f"in {service}. {_trace(order_id)}",
    )


def _undecided(order_id: str, sides: OrderSides) -> Difference:
    assert sides.order is not None
    return Difference(
        "order_undecided",
        {"order_id": order_id},
        "an answer from catalog",
        f"{sides.order.state}, reservation {_state(sides.reservation)}",
        f"Order {order_id} is {sides.order.state}: catalog's answer has not reached orders.",
        _trace(order_id),
    )


def _state_mismatch(
    order_id: str, order: ServiceRecord, pair: tuple[str, str], fitting: ExpectedRecords
) -> Difference:
    expected = " or ".join(sorted(f"reservation {r}, shipment {s}" for r, s in fitting.pairs))
    return Difference(
        "order_state",
        {"order_id": order_id},
        expected,
        f"reservation {pair[0]}, shipment {pair[1]}",
        f"Order {order_id} is {order.state}; catalog's reservation is {pair[0]} and logistics' "
        f"shipment is {pair[1]}.",
        _trace(order_id),
    )


def _lots_mismatch(
    order_id: str, order: ServiceRecord, name: str, other: ServiceRecord
) -> Difference:
    return Difference(
        f"{name}_lots",
        {"order_id": order_id} | _differing_lot_ids(order.lots, other.lots),
        format_lots(order.lots),
        format_lots(other.lots),
        f"Order {order_id} took {format_lots(order.lots)}; its {name} has "
        f"{format_lots(other.lots)}.",
        "Rows were changed by hand or a backup is partly restored: compare with the events. "
        + _trace(order_id),
    )


def _differing_lot_ids(one: Lots, other: Lots) -> dict[str, str]:
    apart = sorted({lot_id for lot_id, _ in set(one) ^ set(other)})
    return {"lot_ids": " ".join(apart)} if apart else {}


def _missing_message(order_id: str, order: ServiceRecord, template: str) -> Difference:
    return Difference(
        "order_untold",
        {"order_id": order_id},
        f"the message {template}",
        NONE,
        f"Order {order_id} is {order.state}, and notifications has no message {template} for "
        "its buyer.",
        _trace(order_id),
    )


def _unknown_sale(sale_id: str, booking: ServiceRecord) -> Difference:
    return Difference(
        "sale_unknown",
        {"sale_id": sale_id},
        "a station sale",
        f"{booking.kind} {booking.state} in catalog",
        f"Catalog has a {booking.kind} {sale_id} ({booking.state}), which orders does not have.",
        "If the database of orders was restored, let the tills upload again: they keep entries "
        "without an acknowledgement, and `farmgate devices import` takes their exported files.",
    )


def _booking_mismatch(
    sale_id: str, sale: ServiceRecord, booking: ServiceRecord | None, wanted: tuple[str, ...]
) -> Difference:
    return Difference(
        "sale_booking",
        {"sale_id": sale_id},
        " or ".join(wanted),
        _state(booking),
        f"The {sale.kind} {sale_id} is {sale.state} in orders and {_state(booking)} in catalog.",
        "Its event is late or parked: see the events that wait in catalog (farmgate doctor).",
    )


def _booked_lots_mismatch(sale_id: str, sale: ServiceRecord, booking: ServiceRecord) -> Difference:
    return Difference(
        "sale_lots",
        {"sale_id": sale_id} | _differing_lot_ids(sale.lots, booking.lots),
        format_lots(sale.lots),
        format_lots(booking.lots),
        f"The {sale.kind} {sale_id} is of {format_lots(sale.lots)}; catalog booked "
        f"{format_lots(booking.lots)}.",
        "Rows were changed by hand: compare the sale's lines with catalog's movements of it.",
    )
