"""When what the services hold of one order, or of one station sale, agrees. Values in, values out.

States are each service's own words. Every rule speaks of a system that has settled: while an
event is on its way two services differ rightly, so whoever compares looks twice.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

#: Lot id → quantity, as pairs in the order of their ids.
Lots = tuple[tuple[str, int], ...]


class ServiceRecord(NamedTuple):
    """What one service holds of one thing."""

    state: str
    lots: Lots = ()
    #: What its buyer was told; of sales, `voided`.
    marks: tuple[str, ...] = ()
    #: Of sales: `sale`, `void` or `return`.
    kind: str = ""


@dataclass(frozen=True)
class Difference:
    """Two things that should agree and do not."""

    #: Which comparison found it, as a word.
    check: str
    #: What it is about: names → ids.
    ids: Mapping[str, str]
    expected: str
    found: str
    #: One sentence for people.
    detail: str
    #: What to do next, as a sentence.
    todo: str
    #: The service whose own rows disagree; empty: two services do.
    service: str = ""


class OrderSides(NamedTuple):
    """One order as the four services have it; None: nothing is known of it there."""

    order: ServiceRecord | None
    reservation: ServiceRecord | None
    shipment: ServiceRecord | None
    notice: ServiceRecord | None


class SaleSides(NamedTuple):
    """One station sale (or void, or return) as orders and catalog have it."""

    sale: ServiceRecord | None
    booking: ServiceRecord | None


NONE = "nothing"


@dataclass(frozen=True)
class ExpectedRecords:
    """What the others hold of an order in one state."""

    #: (reservation, shipment) that fit together.
    pairs: frozenset[tuple[str, str]]
    #: The kind of message its buyer must have been sent.
    told: str
    #: Whether its goods are set aside or gone, so that all must name the same lots.
    has_goods: bool = True


def _pairs(*pairs: tuple[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(pairs)


_OVER = _pairs(("consumed", "delivered"), ("consumed", "collected"))
#: State of an order → what fits to it. One that is `placed` waits for catalog's answer, so
#: nothing fits to it for long.
EXPECTED: Mapping[str, ExpectedRecords] = {
    "reserved": ExpectedRecords(_pairs(("held", NONE)), "order_placed"),
    "confirmed": ExpectedRecords(_pairs(("committed", "planned")), "order_confirmed"),
    "in_fulfilment": ExpectedRecords(_pairs(("committed", "packed")), "order_confirmed"),
    # Refused goods are on their way back; the order is shipped until they arrive.
    "shipped": ExpectedRecords(
        _pairs(("consumed", "handed_over"), ("consumed", "refused")), "order_confirmed"
    ),
    "delivered": ExpectedRecords(_OVER, "order_confirmed"),
    "collected": ExpectedRecords(_OVER, "order_confirmed"),
    "completed": ExpectedRecords(_OVER, "order_confirmed"),
    "returned": ExpectedRecords(_pairs(("returned", "returned")), "order_returned"),
    # With a shipment: its lots were recalled before it left, and no others were found.
    "rejected": ExpectedRecords(
        _pairs(("refused", NONE), ("refused", "cancelled")), "order_rejected", has_goods=False
    ),
    # It waits for an operator, or that declined it: nobody was asked for its goods.
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
            # The goods were faster than the word: on their way back, back, or with the buyer.
            ("consumed", "refused"),
            ("returned", "returned"),
            *_OVER,
        ),
        "order_cancelled",
        has_goods=False,
    ),
}


def order_differences(order_id: str, sides: OrderSides) -> list[Difference]:
    """Return where the services do not agree on an order."""
    order = sides.order
    if order is None:
        return [_unknown_order(order_id, name) for name in _services_with_records(sides)]
    fitting = EXPECTED.get(order.state)
    if fitting is None:
        return [_undecided(order_id, sides)]
    found = []
    pair = _state(sides.reservation), _state(sides.shipment)
    if pair not in fitting.pairs:
        found.append(_state_mismatch(order_id, order, pair, fitting))
    elif fitting.has_goods:
        for name, other in (("reservation", sides.reservation), ("shipment", sides.shipment)):
            if other is not None and other.lots != order.lots:
                found.append(_lots_mismatch(order_id, order, name, other))
    if sides.notice is None or fitting.told not in sides.notice.marks:
        found.append(_missing_message(order_id, order, fitting.told))
    return found


def sale_differences(sale_id: str, sides: SaleSides) -> list[Difference]:
    """Return where orders and catalog do not agree on a station sale."""
    sale, booking = sides.sale, sides.booking
    if sale is None:
        return [_unknown_sale(sale_id, booking)] if booking is not None else []
    wanted = _bookings(sale)
    if _state(booking) not in wanted:
        return [_booking_mismatch(sale_id, sale, booking, wanted)]
    if booking is not None and booking.state == "booked" and booking.lots != sale.lots:
        return [_booked_lots_mismatch(sale_id, sale, booking)]
    return []


#: By these checks orders and catalog each name what is disputed and not decided.
DISPUTED, UNCOVERED = "station_sale_disputed", "overdraft open"


def merge_reports(own: Iterable[Difference]) -> list[Difference]:
    """Return what services found in their own rows, each dispute once and with what to do.

    Of a sale that nothing covers both orders and catalog tell.
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
    """Return what catalog may hold of a sale, void or return.

    That one is disputed and not decided is a difference that orders and catalog tell themselves.
    """
    if "voided" in sale.marks:
        return (NONE,)  # undone before it was ever sent: it moved nothing
    match sale.state:
        case "accepted" if sale.kind == "sale":
            return ("booked",)
        case "accepted":
            # `reduced`: what came back of a sale that was never booked moved nothing.
            return ("booked", "reduced")
        case "waiting":
            return (NONE,)
        case "settled":
            return ("covered", "lost", "voided")
        case "disputed" if sale.kind == "sale":
            # One that could not be read names no goods that anything could cover.
            return ("overdrawn", "disputed") if sale.lots else ("disputed", NONE)
        case _:  # disputed or acknowledged: what came back is kept beside the stock
            return (NONE,)


def _state(held: ServiceRecord | None) -> str:
    return NONE if held is None else held.state


def format_lots(lots: Lots) -> str:
    """Return lots for people."""
    return ", ".join(f"{quantity} of lot {lot_id}" for lot_id, quantity in lots) or "no lots"


def _services_with_records(sides: OrderSides) -> Iterable[str]:
    if sides.reservation is not None:
        yield "catalog"
    if sides.shipment is not None:
        yield "logistics"
    if sides.notice is not None:
        yield "notifications"


def _trace(order_id: str) -> str:
    return f"See its way, and what is stuck: farmgate trace {order_id}"


def _unknown_order(order_id: str, service: str) -> Difference:
    return Difference(
        "order_unknown",
        {"order_id": order_id},
        "an order",
        f"{service} alone knows it",
        f"{service} holds something for order {order_id}, which orders does not know.",
        "If the database of orders was restored, it has forgotten this order: its events are "
        f"in {service}. {_trace(order_id)}",
    )


def _undecided(order_id: str, sides: OrderSides) -> Difference:
    assert sides.order is not None
    return Difference(
        "order_undecided",
        {"order_id": order_id},
        "an answer of catalog",
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
        f"Catalog has a {booking.kind} {sale_id} ({booking.state}), which orders does not know.",
        "If the database of orders was restored, let the tills upload again: they keep what was "
        "not acknowledged, and `farmgate devices import` takes their exported files.",
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
        "Its event is late or parked: see what waits in catalog (farmgate doctor).",
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
