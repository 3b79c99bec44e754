"""What catalog says of a station's sale, and what is odd and no reason to dispute it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from services.orders.models import TillEntry
from shared import clock
from shared.clock import rfc3339
from shared.events import (
    AllotmentOverdrawn,
    OverdraftSettled,
    PriceChanged,
)
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
    till.upload(an_entry("sale", 1, device_time="1999-01-01T00:00:00Z"))

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
