"""When the services agree on an order or a sale, and what the command says when they do not."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

from farmgate.client import Client
from farmgate.verify import reader
from farmgate.verify.reader import MOST_IDS, Reader, record_of
from farmgate.verify.rules import (
    DISPUTED,
    EXPECTED,
    NONE,
    UNCOVERED,
    Difference,
    OrderSides,
    SaleSides,
    ServiceRecord,
    merge_reports,
    order_differences,
    sale_differences,
)
from services.catalog.rules import ReservationStatus
from services.logistics.rules import ShipmentState
from services.notifications.rules.messages import TEMPLATES
from services.orders.rules.order_status import OrderState

LOTS = (("lot-1", 500), ("lot-2", 250))
OTHER = (("lot-1", 500), ("lot-2", 251))


def an_order(
    state: str, reservation: str, shipment: str, told: str, lots: Any = LOTS
) -> OrderSides:
    """An order as the four services have it; NONE: one knows nothing."""
    return OrderSides(
        ServiceRecord(state, lots),
        ServiceRecord(reservation, LOTS) if reservation != NONE else None,
        ServiceRecord(shipment, LOTS) if shipment != NONE else None,
        ServiceRecord("placed", (), ("order_placed", told)),
    )


def checks(differences: list[Difference]) -> list[str]:
    return [difference.check for difference in differences]


@pytest.mark.parametrize(
    ("state", "pair"),
    [(state, pair) for state, expected in EXPECTED.items() for pair in sorted(expected.pairs)],
)
def test_what_fits_is_no_difference(state: str, pair: tuple[str, str]) -> None:
    sides = an_order(state, *pair, EXPECTED[state].message)

    assert order_differences("o-1", sides) == []


def test_the_rules_know_every_state_and_no_other() -> None:
    """The words are the services' own: a state added there must be thought of here."""
    reservations = {pair[0] for expected in EXPECTED.values() for pair in expected.pairs}
    shipments = {pair[1] for expected in EXPECTED.values() for pair in expected.pairs}

    unasked = {"awaiting_approval", "declined"}
    assert EXPECTED.keys() == {state.value for state in OrderState} - {"placed"} | unasked
    assert reservations == {status.value for status in ReservationStatus} | {NONE}
    assert shipments == {state.value for state in ShipmentState} | {NONE}
    assert {expected.message for expected in EXPECTED.values()} <= TEMPLATES.keys()


@pytest.mark.parametrize(
    ("sides", "check"),
    [
        (an_order("placed", NONE, NONE, "order_placed"), "order_undecided"),
        (an_order("confirmed", "held", "planned", "order_confirmed"), "order_state"),
        (an_order("confirmed", "committed", NONE, "order_confirmed"), "order_state"),
        (an_order("expired", "held", NONE, "order_expired"), "order_state"),
        (an_order("rejected", "held", NONE, "order_rejected"), "order_state"),
        (an_order("rejected", NONE, NONE, "order_rejected"), "order_state"),
        (an_order("awaiting_approval", "held", NONE, "approval_requested"), "order_state"),
        (an_order("declined", "held", NONE, "order_declined"), "order_state"),
        (an_order("declined", NONE, NONE, "order_rejected"), "order_untold"),
        (an_order("cancelled", "committed", "cancelled", "order_cancelled"), "order_state"),
        (an_order("completed", "consumed", "handed_over", "order_confirmed"), "order_state"),
        (an_order("completed", "consumed", "delivered", "nothing"), "order_untold"),
    ],
)
def test_what_does_not_fit_is_named(sides: OrderSides, check: str) -> None:
    [difference] = order_differences("o-1", sides)

    assert difference.check == check
    assert difference.ids == {"order_id": "o-1"}
    assert "farmgate trace o-1" in difference.todo


def test_other_lots_or_quantities_are_named_on_either_side() -> None:
    sides = an_order("confirmed", "committed", "planned", "order_confirmed", lots=OTHER)

    found = order_differences("o-1", sides)

    assert checks(found) == ["reservation_lots", "shipment_lots"]
    assert found[0].ids == {"order_id": "o-1", "lot_ids": "lot-2"}
    assert (found[0].expected, found[0].found) == (
        "500 of lot lot-1, 251 of lot lot-2",
        "500 of lot lot-1, 250 of lot lot-2",
    )


def test_lots_of_an_order_that_holds_nothing_are_not_compared() -> None:
    assert (
        order_differences("o-1", an_order("expired", "released", NONE, "order_expired", ())) == []
    )


def test_what_orders_does_not_know_is_named_by_who_does() -> None:
    sides = OrderSides(
        None, ServiceRecord("held"), ServiceRecord("planned"), ServiceRecord("placed")
    )

    found = order_differences("o-1", sides)

    assert checks(found) == ["order_unknown"] * 3
    assert [each.found.partition(" ")[0] for each in found] == [
        "catalog",
        "logistics",
        "notifications",
    ]


def a_sale(state: str, *marks: str, kind: str = "sale", lots: Any = LOTS) -> ServiceRecord:
    return ServiceRecord(state, lots, marks, kind)


@pytest.mark.parametrize(
    ("sale", "booking"),
    [
        (a_sale("accepted"), a_sale("booked")),
        (a_sale("accepted", kind="return"), a_sale("booked", kind="return")),
        (a_sale("accepted", kind="void"), a_sale("reduced", kind="void")),
        (a_sale("accepted", "voided"), None),
        (a_sale("accepted", "voided", kind="void"), None),
        (a_sale("waiting", kind="void"), None),
        (a_sale("disputed"), a_sale("overdrawn")),
        (a_sale("disputed"), a_sale("disputed")),
        (a_sale("disputed", lots=()), None),
        (a_sale("disputed", kind="return"), None),
        (a_sale("settled"), a_sale("covered")),
        (a_sale("settled"), a_sale("lost")),
        (a_sale("settled"), a_sale("voided")),
        (a_sale("acknowledged", kind="return"), None),
    ],
)
def test_a_sale_and_its_booking_agree(sale: ServiceRecord, booking: ServiceRecord | None) -> None:
    assert sale_differences("s-1", SaleSides(sale, booking)) == []


@pytest.mark.parametrize(
    ("sale", "booking", "check"),
    [
        (a_sale("accepted"), None, "sale_booking"),
        (a_sale("accepted"), a_sale("overdrawn"), "sale_booking"),
        (a_sale("accepted", "voided"), a_sale("booked"), "sale_booking"),
        (a_sale("accepted", lots=OTHER), a_sale("booked"), "sale_lots"),
        (a_sale("settled"), a_sale("overdrawn"), "sale_booking"),
        (a_sale("disputed"), a_sale("booked"), "sale_booking"),
        (a_sale("disputed", kind="return"), a_sale("booked", kind="return"), "sale_booking"),
        (None, a_sale("booked"), "sale_unknown"),
    ],
)
def test_a_sale_and_its_booking_that_differ_are_named(
    sale: ServiceRecord | None, booking: ServiceRecord | None, check: str
) -> None:
    [difference] = sale_differences("s-1", SaleSides(sale, booking))

    assert difference.check == check
    assert difference.ids["sale_id"] == "s-1"


def a_difference(service: str, check: str, sale_id: str) -> Difference:
    return Difference(check, {"sale_id": sale_id}, "", "", "", "?", service)


def test_a_dispute_that_two_services_tell_of_is_said_once_with_how_to_decide_it() -> None:
    own = [
        a_difference("orders", DISPUTED, "s-1"),
        a_difference("orders", DISPUTED, "v-2"),
        a_difference("catalog", UNCOVERED, "s-1"),
        a_difference("catalog", UNCOVERED, "s-3"),
        a_difference("catalog", "balance_movements", "s-1"),
    ]

    said = merge_reports(own)

    assert [(each.service, each.ids["sale_id"]) for each in said] == [
        ("orders", "s-1"),
        ("orders", "v-2"),
        ("catalog", "s-3"),
        ("catalog", "s-1"),
    ]
    assert "farmgate devices settle s-1" in said[0].todo
    assert "farmgate devices acknowledge v-2" in said[1].todo
    assert said[3].todo == "?"


def test_equal_facts_are_kept_once(stand: Any) -> None:
    value = {"state": "planned", "lots": {"lot-1": 500}}
    items = [{"id": f"o-{n}", "value": value} for n in range(3)]
    stand.answers += [
        (200, {"items": items[:2], "next": "more"}),
        (200, {"items": items[2:], "next": None}),
    ]
    pages: list[int] = []

    facts = Reader(_client(stand)).read_all(reader.SHIPMENTS, pages.append)

    assert pages == [2, 1]
    assert facts["o-0"] is facts["o-1"] is facts["o-2"]
    assert facts["o-0"] == record_of(value)
    assert "cursor=more" in stand.requests[1].path


def test_many_ids_are_asked_for_in_parts(stand: Any) -> None:
    stand.answers += [(200, {"items": [], "next": None})] * 2

    Reader(_client(stand)).read_some(reader.ORDERS, {f"o-{n}" for n in range(MOST_IDS + 1)})

    assert [request.path.count("id=") for request in stand.requests] == [MOST_IDS, 1]


def _client(stand: Any) -> Client:
    return Client(
        dict.fromkeys(("catalog", "orders", "logistics", "notifications"), stand.url), "t"
    )


def _page(*items: tuple[str, dict[str, Any]]) -> tuple[int, Any]:
    return 200, {"items": [{"id": id_, "value": value} for id_, value in items], "next": None}


def _report(service: str, *differences: dict[str, Any], **checked: int) -> tuple[int, Any]:
    return 200, {
        "service": service,
        "checked": checked,
        "differences": list(differences),
        "notes": [],
    }


NO_FACTS = [_page()] * 6
OWN = [_report(name) for name in ("catalog", "orders", "logistics", "notifications")]
LATE = (200, {"status": "ready", "oldest_unpublished_seconds": 4.5, "parked": {"dead": 1}})


@pytest.fixture
def verify(
    farmgate: Callable[..., Result], stand: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Run `farmgate verify` against the stand-in."""
    monkeypatch.setenv("FARMGATE_URL", stand.url)
    monkeypatch.setenv("FARMGATE_TOKEN", "t")
    return lambda *arguments: farmgate("verify", *arguments)


def test_when_all_agree_it_says_so(verify: Callable[..., Result], stand: Any) -> None:
    order = ("o-1", {"state": "rejected", "lots": {}})
    told = {"state": "placed", "told": ["order_rejected"]}
    stand.answers += [
        _page(order),
        _page(("o-1", {"status": "refused", "lots": {}})),
        _page(),
        _page(("o-1", told)),
        _page(),
        _page(),
        *OWN,
    ]

    done = verify()

    assert done.exit_code == 0, done.output
    assert "All four services agree" in done.output


def test_what_is_on_its_way_is_read_again_until_it_agrees(
    verify: Callable[..., Result], stand: Any
) -> None:
    order = ("o-1", {"state": "rejected", "lots": {}})
    reservation = ("o-1", {"status": "refused", "lots": {}})
    told = ("o-1", {"state": "placed", "told": ["order_rejected"]})
    stand.answers += [_page(order), _page(), _page(), _page(told), _page(), _page(), *OWN]
    stand.answers += [_page(order), _page(reservation), _page(), _page(told), *OWN]

    done = verify("--json")

    found = json.loads(done.stdout)
    assert (done.exit_code, found["agrees"], found["vanished"]) == (0, True, 1)
    assert all("id=o-1" in request.path for request in stand.requests[10:14])


def test_what_remains_is_named_with_what_waits(verify: Callable[..., Result], stand: Any) -> None:
    sale = ("s-1", {"kind": "sale", "status": "accepted", "lots": {"lot-1": 5}, "voided": False})
    stand.answers += [_page(), _page(), _page(), _page(), _page(sale), _page(), *OWN]
    stand.answers += [LATE] * 4

    done = verify("--patience", "0")

    assert done.exit_code == 1
    assert "sale_id s-1" in done.output
    assert "expected: booked; found nothing" in done.output
    assert "its oldest event has waited 4.5 s to be published" in done.output
    assert "events parked: 1 dead" in done.output


def test_a_services_own_difference_is_named_after_it(
    verify: Callable[..., Result], stand: Any
) -> None:
    own = {
        "check": "shipment_lines",
        "ids": {"shipment_id": "x-1"},
        "expected": "something",
        "found": "nothing",
        "detail": "Shipment SHP-1 holds nothing.",
    }
    stand.answers += [*NO_FACTS, OWN[0], OWN[1], _report("logistics", own), OWN[3]]
    stand.answers += [LATE] * 4

    done = verify("--patience", "0", "--json")

    found = json.loads(done.stdout)
    assert done.exit_code == 1
    [difference] = found["differences"]
    assert (difference["service"], difference["ids"]) == ("logistics", {"shipment_id": "x-1"})
    assert found["waiting"]["catalog"]["parked"] == {"dead": 1}


def test_a_service_that_is_away_ends_it_with_another_code(
    verify: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARMGATE_URL", "http://127.0.0.1:1")
    monkeypatch.setattr("farmgate.commands.verify.REACHING", 0.1)

    done = verify()

    assert done.exit_code == 3
    assert "farmgate up" in done.output
