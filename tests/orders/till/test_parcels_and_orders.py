"""Parcels given away and orders taken at a till."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text

from services.orders.models import Order, TillEntry
from shared.events import (
    HandOverRefused,
    ProductWithdrawn,
)
from shared.runtime.database import Database
from shared.runtime.ids import new_id
from tests.orders.reading import Recorded, types_of
from tests.orders.till.device import Till, words

Builder = Callable[..., dict[str, Any]]
Deliver = Callable[..., list[UUID]]
ReadEntry = Callable[[UUID], TillEntry]
Ask = Callable[[str], Any]
pytestmark = pytest.mark.usefixtures("station_price")


# --- Parcels --------------------------------------------------------------------------------------


def test_a_parcel_given_away_is_told_with_its_code_which_is_not_kept(
    till: Till, an_entry: Builder, recorded_events: Recorded, read_entry: ReadEntry, ask: Ask
) -> None:
    given = an_entry("hand_over", 1, received_by="扎西")

    assert words(till.upload(given, given)) == ["accepted", "duplicate"]

    ((type_, told),) = recorded_events()
    assert type_ == "orders.parcel_handed_over.v1"
    assert told == {
        "entry_id": str(till.id_of(1)),
        "shipment_id": given["shipment_id"],
        "site_id": str(till.device.site_id),
        "device_code": "T-1",
        "code": "123456",
        "received_by": "扎西",
        "collected_fen": 13_600,
        "difference_reason": None,
        "device_time": "2026-11-25T08:30:00+00:00",
    }
    kept = json.dumps(read_entry(till.id_of(1)).body, ensure_ascii=False)
    assert "123456" not in kept
    assert "扎西" not in kept
    assert ask("cash/custody")["items"][0]["collected_fen"] == 13_600


def test_a_parcel_that_was_not_there_to_give_is_disputed_and_its_money_stays_counted(
    till: Till, an_entry: Builder, deliver: Deliver, ask: Ask
) -> None:
    given = an_entry("hand_over", 1)
    till.upload(given)

    deliver(
        HandOverRefused,
        shipment_id=UUID(given["shipment_id"]),
        entry_id=till.id_of(1),
        reason="wrong-code",
    )

    (item,) = till.attention()["items"]
    assert (item["kind"], item["status"], item["reason"]) == ("hand_over", "disputed", "wrong-code")
    assert ask("cash/custody")["items"][0]["held_fen"] == 13_600


# --- Orders ---------------------------------------------------------------------------------------


def test_an_order_taken_at_a_till_is_placed_once(
    till: Till, an_entry: Builder, database: Database, recorded_events: Recorded
) -> None:
    order = an_entry("order", 1)

    assert words(till.upload(order)) == ["accepted"]
    assert words(till.upload(order)) == ["duplicate"]

    (_, contact), (_, placed) = recorded_events()
    assert types_of(recorded_events()) == ["contact_given", "order_placed"]
    assert (contact["name"], contact["phone"]) == ("卓玛", "+8613800138000")
    assert (placed["order_id"], placed["channel"]) == (str(till.id_of(1)), "station")
    assert (placed["site_id"], placed["total_fen"]) == (str(till.device.site_id), 13_600)
    with database.readers() as reader:
        kept = reader.scalars(select(Order)).one()
    assert kept.placed_by == f"device/{till.device.device_id}"


def test_orders_of_tills_and_of_others_are_listed_as_they_came(
    till: Till, an_entry: Builder, place: Callable[..., dict[str, Any]], ask: Ask
) -> None:
    placed = []
    for number in range(1, 6):
        placed.append(place(_subject="operator")["order_id"])
        till.upload(an_entry("order", number))
        placed.append(str(till.id_of(number)))

    seen, cursor = [], ""
    while cursor is not None:
        page = ask(f"orders?limit=3{cursor and '&cursor=' + cursor}")
        seen += [order["order_id"] for order in page["items"]]
        cursor = page["next"]

    assert seen == placed[::-1]


def test_a_buyers_contact_is_nowhere_but_in_the_fact_that_passes_it_on(
    till: Till, an_entry: Builder, database: Database
) -> None:
    till.upload(an_entry("order", 1), an_entry("order", 2, order={"contact": {"name": "卓玛"}}))

    with database.readers() as reader:
        for table in ("till_entries", "orders", "journals"):
            rows = reader.execute(text(f"SELECT * FROM {table}")).all()
            assert rows
            assert "卓玛" not in repr(rows) and "\\u5353\\u739b" not in repr(rows)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"lines": [{"variant_id": str(new_id()), "quantity": 500}]}, "unknown-variant"),
        ({"payment_method": "cash_at_station"}, "no-cash-without-station"),
    ],
)
def test_an_order_that_cannot_be_is_disputed_and_the_rest_goes_on(
    till: Till,
    an_entry: Builder,
    recorded_events: Recorded,
    changes: dict[str, Any],
    reason: str,
) -> None:
    impossible = an_entry("order", 1)
    impossible["order"] |= changes

    answers = till.upload(impossible, an_entry("order", 2), an_entry("sale", 3))

    assert words(answers) == [f"disputed {reason}", "accepted", "accepted"]
    assert types_of(recorded_events()) == ["contact_given", "order_placed", "station_sale_recorded"]


def test_an_order_of_what_is_sold_no_more_is_disputed(
    till: Till, an_entry: Builder, deliver: Deliver, database: Database
) -> None:
    with database.readers() as reader:
        product_id = reader.scalar(text("SELECT id FROM product_copies"))
    deliver(ProductWithdrawn, product_id=UUID(str(product_id)))

    answers = till.upload(an_entry("order", 1))

    assert words(answers) == ["disputed unknown-variant"]
    assert "is not on sale" in answers[0]["detail"]
