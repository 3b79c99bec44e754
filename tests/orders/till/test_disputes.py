"""What catalog says of a station's sale, and what is odd and no reason to dispute it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from services.orders.models import TillEntry
from shared.events import (
    AllotmentOverdrawn,
    OverdraftSettled,
    PriceChanged,
)
from shared.runtime import clock
from shared.runtime.clock import rfc3339
from tests.orders.reading import Recorded, types_of
from tests.orders.till.device import Till, words

Builder = Callable[..., dict[str, Any]]
Deliver = Callable[..., list[UUID]]
ReadEntry = Callable[[UUID], TillEntry]
Ask = Callable[[str], Any]
pytestmark = pytest.mark.usefixtures("station_price")


# --- What catalog says of it ----------------------------------------------------------------------


def _overdrawn(till: Till, number: int, lot_id: UUID) -> dict[str, Any]:
    line = {"line_no": 1, "lot_id": lot_id, "requested": 1000, "remaining": 0}
    return {
        "sale_id": till.id_of(number),
        "device_id": till.device.device_id,
        "epoch": till.device.epoch,
        "number": number,
        "reason": "beyond_grant",
        "lines": [line],
    }


def test_a_sale_beyond_the_grant_is_disputed_until_it_is_settled(
    till: Till,
    an_entry: Builder,
    deliver: Deliver,
    lot_id: UUID,
    recorded_events: Recorded,
    read_entry: ReadEntry,
) -> None:
    till.upload(an_entry("sale", 1))

    deliver(AllotmentOverdrawn, **_overdrawn(till, 1, lot_id))

    (item,) = till.attention()["items"]
    assert (item["number"], item["status"], item["reason"]) == (1, "disputed", "beyond_grant")
    type_, told = recorded_events()[-1]
    assert type_ == "orders.station_sale_disputed.v1"
    assert (told["reason"], told["lines"][0]["quantity"]) == ("beyond_grant", 1000)
    assert words(till.upload(an_entry("sale", 1))) == ["duplicate beyond_grant"]

    deliver(OverdraftSettled, sale_id=till.id_of(1), resolution="covered")
    settled = read_entry(till.id_of(1))
    assert (settled.status, settled.resolution) == ("settled", "covered")
    assert till.attention()["items"][0]["status"] == "settled"


def test_catalog_may_say_the_same_again(
    till: Till,
    an_entry: Builder,
    deliver: Deliver,
    lot_id: UUID,
    recorded_events: Recorded,
    read_entry: ReadEntry,
) -> None:
    till.upload(an_entry("sale", 1), an_entry("sale", 2))
    overdrawn = [_overdrawn(till, number, lot_id) for number in (1, 2, 1)]

    deliver(AllotmentOverdrawn, overdrawn)
    deliver(OverdraftSettled, sale_id=till.id_of(1), resolution="lost")
    deliver(OverdraftSettled, sale_id=till.id_of(1), resolution="covered")
    deliver(AllotmentOverdrawn, **overdrawn[0])

    assert types_of(recorded_events()) == (
        ["station_sale_recorded"] * 2 + ["station_sale_disputed"] * 2
    )
    assert read_entry(till.id_of(1)).resolution == "lost"


def test_the_void_of_a_disputed_sale_is_told_so_that_less_has_to_be_covered(
    till: Till, an_entry: Builder, deliver: Deliver, lot_id: UUID, recorded_events: Recorded
) -> None:
    till.upload(an_entry("sale", 1))
    deliver(AllotmentOverdrawn, **_overdrawn(till, 1, lot_id))

    assert words(till.upload(an_entry("void", 2, of=1))) == ["accepted"]

    assert recorded_events()[-1][1]["kind"] == "void"


def test_a_sale_that_orders_does_not_know_is_parked(
    till: Till, deliver: Deliver, lot_id: UUID, parked: Callable[[], list[Any]]
) -> None:
    deliver(AllotmentOverdrawn, **_overdrawn(till, 1, lot_id))

    assert [row.reason for row in parked()] == ["handler_failed"]


# --- What is odd and no reason to dispute it ------------------------------------------------------


def test_a_sale_at_another_price_is_marked_with_what_it_should_have_cost(
    till: Till, an_entry: Builder, deliver: Deliver, a_price: Builder, variant_id: UUID, ask: Ask
) -> None:
    changed = clock.now() - timedelta(days=1)
    new = a_price(variant_id, channel="station", price_fen=7000, valid_from=changed)
    deliver(PriceChanged, **new)
    before, after = rfc3339(changed - timedelta(hours=1)), rfc3339(changed + timedelta(hours=1))

    till.upload(an_entry("sale", 1, device_time=before), an_entry("sale", 2, device_time=after))

    second, first = ask("station-sales")["items"]
    assert (first["status"], first["flags"], first["expected_fen"]) == ("accepted", [], None)
    assert (second["status"], second["flags"]) == ("accepted", ["price_differs"])
    assert second["expected_fen"] == 14_000


def test_a_sale_after_a_dated_price_costs_what_held_before_it(
    till: Till, an_entry: Builder, deliver: Deliver, a_price: Builder, variant_id: UUID, ask: Ask
) -> None:
    ended = clock.now() - timedelta(days=1)
    began = ended - timedelta(days=2)
    offer = a_price(variant_id, channel="station", price_fen=7000, valid_from=began, valid_to=ended)
    deliver(PriceChanged, **offer)
    during, after = rfc3339(ended - timedelta(hours=1)), rfc3339(ended + timedelta(hours=1))

    till.upload(an_entry("sale", 1, device_time=during))
    till.upload(an_entry("sale", 2, device_time=after))

    second, first = ask("station-sales")["items"]
    assert (first["flags"], first["expected_fen"]) == (["price_differs"], 14_000)
    assert (second["flags"], second["expected_fen"]) == ([], None)


def test_a_sale_of_what_had_no_price_is_marked(till: Till, an_entry: Builder, ask: Ask) -> None:
    till.upload(an_entry("sale", 1, device_time="2023-12-31T23:30:00Z"))

    (sale,) = ask("station-sales")["items"]
    assert (sale["flags"], sale["expected_fen"]) == (["price_differs"], None)


def test_a_sale_that_does_not_sum_up_is_marked(till: Till, an_entry: Builder, ask: Ask) -> None:
    till.upload(an_entry("sale", 1, total_fen=13_000))

    (sale,) = ask("station-sales")["items"]
    assert (sale["status"], sale["flags"]) == ("accepted", ["total_differs"])


def test_entries_of_a_clock_that_is_ahead_are_marked(
    till: Till, an_entry: Builder, ask: Ask
) -> None:
    ahead = [rfc3339(clock.now() + timedelta(minutes=minutes)) for minutes in (55, 65)]

    till.upload(*(an_entry("shift_open", n, shift=n, device_time=ahead[n - 1]) for n in (1, 2)))

    assert [entry["flags"] for entry in ask("station-sales")["items"]] == [["clock_off"], []]


def test_entries_of_a_clock_from_before_the_device_was_enrolled_are_marked_and_priced(
    enrol: Callable[..., Till], an_entry: Builder, ask: Ask
) -> None:
    enrolled = clock.now() - timedelta(days=2)
    till = enrol(enrolled_at=enrolled)
    shown = ["1970-01-01T00:00:03Z"]
    shown += [rfc3339(enrolled - timedelta(minutes=minutes)) for minutes in (65, 55)]

    answers = till.upload(*(an_entry("sale", n, device_time=t) for n, t in enumerate(shown, 1)))

    assert words(answers) == ["accepted"] * 3
    assert [entry["flags"] for entry in ask("station-sales")["items"]] == [
        [],
        ["clock_off"],
        ["clock_off"],
    ]


@pytest.mark.parametrize(("minutes", "flags"), [(65, ["clock_off"]), (55, [])])
def test_a_clock_that_was_turned_back_since_the_sale_or_the_opening_is_marked(
    till: Till, an_entry: Builder, ask: Ask, minutes: int, flags: list[str]
) -> None:
    first = clock.now() - timedelta(days=1)
    then = rfc3339(first - timedelta(minutes=minutes))
    entries = [
        an_entry("shift_open", 1, device_time=rfc3339(first)),
        an_entry("sale", 2, device_time=rfc3339(first)),
        an_entry("return", 3, of=2, device_time=then),
        an_entry("shift_close", 4, device_time=then),
    ]

    till.upload(*reversed(entries))

    flagged = {entry["number"]: entry["flags"] for entry in ask("station-sales")["items"]}
    assert flagged[3] == flags
    assert [flagged[1], flagged[4]].count(["clock_off"]) == len(flags)


@pytest.mark.parametrize("kind", ["void", "return"])
@pytest.mark.parametrize(
    ("paid", "back", "held_fen"),
    [("mobile", "cash", True), ("cash", "mobile", False), ("cash", "cash", True)],
)
def test_money_given_back_in_another_way_than_it_was_paid_is_marked_and_booked(
    till: Till,
    an_entry: Builder,
    ask: Ask,
    recorded_events: Recorded,
    kind: str,
    paid: str,
    back: str,
    held_fen: bool,
) -> None:
    reversal = an_entry(kind, 2, of=1, payment=back)
    till.upload(reversal, an_entry("sale", 1, payment=paid))

    entry = next(each for each in ask("station-sales")["items"] if each["kind"] == kind)
    assert entry["status"] == "accepted"
    assert entry["flags"] == (["payment_differs"] if paid != back else [])
    assert types_of(recorded_events()) == ["station_sale_recorded"] * 2
    (custody,) = ask("cash/custody")["items"]
    assert custody["refunded_fen"] == (entry["total_fen"] if held_fen else 0)
    assert ask("verify")["differences"] == []


@pytest.mark.parametrize(
    ("paid", "back", "flags", "held_fen"),
    [
        ("mobile", "cash", ["payment_differs"], -13_600),
        ("cash", "mobile", ["payment_differs"], 13_600),
        ("cash", "cash", [], 0),
        ("mobile", "mobile", [], 0),
    ],
)
def test_a_sale_voided_before_it_was_sent_moves_cash_only_if_the_money_went_another_way_back(
    till: Till,
    an_entry: Builder,
    ask: Ask,
    recorded_events: Recorded,
    paid: str,
    back: str,
    flags: list[str],
    held_fen: int,
) -> None:
    opening = an_entry("shift_open", 1)
    sale = an_entry("sale", 2, voided=True, payment=paid)
    till.upload(opening, sale, an_entry("void", 3, of=2, payment=back))

    assert ask("station-sales")["items"][0]["flags"] == flags
    assert sum(row["held_fen"] for row in ask("cash/custody")["items"]) == held_fen
    assert ask("cash/shifts")["items"][0]["expected_fen"] == 20_000 + held_fen
    assert recorded_events() == []
    assert ask("verify")["differences"] == []


def test_what_is_flagged_is_listed_by_itself(till: Till, an_entry: Builder, ask: Ask) -> None:
    till.upload(
        an_entry("sale", 1), an_entry("sale", 2, total_fen=1), an_entry("sale", 3, clerk="\u200b")
    )

    flagged = ask("station-sales?flagged=true&limit=1")
    rest = ask(f"station-sales?flagged=true&limit=1&cursor={flagged['next']}")

    assert [entry["number"] for entry in flagged["items"] + rest["items"]] == [3, 2]
    assert [entry["number"] for entry in ask("station-sales?flagged=false")["items"]] == [1]
