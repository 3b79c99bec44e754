"""Lots, locations, stock and reservations over HTTP."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from shared.events import SiteClosed
from shared.runtime import clock
from shared.runtime.ids import new_id

Recorded = Callable[[], list[tuple[str, dict[str, Any]]]]


def kind_of(answer: Any) -> str:
    """Return the last part of a problem's type."""
    return str(answer.json["type"]).rpartition("/")[2]


# --- Lots ------------------------------------------------------------------------------------


def a_lot(shop: Any, **changes: Any) -> dict[str, Any]:
    lot = {
        "code": "L-1",
        "variant_id": str(shop.variant),
        "producer_id": str(shop.producer),
        "harvest_date": clock.today().isoformat(),
        "origin_site_id": str(shop.station),
    }
    return lot | changes


def test_a_lot_is_recorded_with_its_shelf_life_and_goes_its_way_to_the_buyers(
    shop: Any, post: Any, get: Any, recorded_events: Recorded
) -> None:
    lot = post("/lots", a_lot(shop))
    lot_id = lot.json["lot_id"]
    before = len(recorded_events())

    statuses = [post(f"/lots/{lot_id}/{step}").json["status"] for step in ("inspect", "release")]

    assert (lot.status_code, lot.json["status"]) == (201, "harvested")
    assert lot.json["best_before"] > lot.json["harvest_date"]
    assert statuses == ["inspected", "released"]
    assert get(f"/lots/{lot_id}").json["status"] == "released"
    assert [kind for kind, _ in recorded_events()[before:]] == ["catalog.lot_released.v1"]


def test_a_lot_is_not_released_before_it_is_inspected(shop: Any, post: Any) -> None:
    lot_id = post("/lots", a_lot(shop)).json["lot_id"]

    answer = post(f"/lots/{lot_id}/release")

    assert (answer.status_code, kind_of(answer)) == (409, "wrong-lot-state")
    assert answer.json["state"] == "harvested"


def test_stock_of_a_lot_is_free_from_its_release_on_and_stopped_by_a_hold(
    shop: Any, post: Any, recorded_events: Recorded
) -> None:
    lot_id = UUID(post("/lots", a_lot(shop)).json["lot_id"])
    receipt = {"lot_id": str(lot_id), "location_id": str(shop.centre), "quantity": 100}

    seen = [post("/stock/receipts", receipt).json["held"]]
    for step in ("inspect", "release"):
        post(f"/lots/{lot_id}/{step}")
    seen.append(shop.level(lot_id))
    held = post(f"/lots/{lot_id}/hold", {"reason": "mould"})
    seen.append(shop.level(lot_id))
    post(f"/lots/{lot_id}/release")
    seen.append(shop.level(lot_id))

    assert seen == [100, {"available": 100}, {"held": 100}, {"available": 100}]
    assert (held.json["status"], held.json["status_reason"]) == ("held", "mould")
    kinds = [kind for kind, _ in recorded_events()]
    assert (kinds.count("catalog.lot_released.v1"), kinds.count("catalog.lot_held.v1")) == (2, 1)


def test_recalling_a_lot_twice_says_it_once_and_it_never_comes_back(
    shop: Any, post: Any, recorded_events: Recorded
) -> None:
    lot_id = shop.add_lot("L-1", 100)

    answers = [post(f"/lots/{lot_id}/recall", {"reason": "mould"}) for _ in range(2)]
    back = post(f"/lots/{lot_id}/release")

    assert [answer.status_code for answer in answers] == [200, 200]
    assert [kind for kind, _ in recorded_events()].count("catalog.lot_recalled.v1") == 1
    assert back.status_code == 409
    assert shop.level(lot_id) == {"held": 100}


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"variant_id": str(new_id())}, "unknown-variant"),
        ({"producer_id": str(new_id())}, "unknown-producer"),
        ({"origin_site_id": str(new_id())}, "unknown-location"),
        ({"harvest_date": "2199-01-01"}, "impossible-dates"),
        ({"best_before": "2001-01-01"}, "impossible-dates"),
    ],
)
def test_an_impossible_lot_is_refused(
    shop: Any, post: Any, changes: dict[str, Any], kind: str
) -> None:
    answer = post("/lots", a_lot(shop, **changes))

    assert (answer.status_code, kind_of(answer)) == (422, kind)


@pytest.mark.parametrize(
    "changes",
    [
        {"harvest_date": "9999-12-31"},
        {"harvest_date": "0001-01-01"},
        {"best_before": "9999-12-31"},
    ],
)
def test_a_lot_of_a_day_outside_the_calendar_is_refused_and_not_recorded(
    shop: Any, post: Any, get: Any, changes: dict[str, Any]
) -> None:
    answer = post("/lots", a_lot(shop, **changes))

    assert (answer.status_code, kind_of(answer)) == (422, "validation-failed")
    assert list(answer.json["errors"]) == list(changes)
    assert get("/lots").json["items"] == []


def test_the_same_lot_again_answers_the_one_that_is_there_and_another_is_refused(
    shop: Any, post: Any
) -> None:
    first = post("/lots", a_lot(shop))

    again = post("/lots", a_lot(shop))
    other = post("/lots", a_lot(shop, origin_site_id=str(shop.centre)))

    assert again.json == first.json
    assert (other.status_code, kind_of(other)) == (409, "lot-code-taken")


def test_lots_are_listed_newest_first_page_by_page(shop: Any, get: Any) -> None:
    for number in range(3):
        shop.add_lot(f"L-{number}", 0)

    first = get("/lots", limit=2).json
    second = get("/lots", limit=2, cursor=first["next"]).json

    assert [lot["code"] for lot in first["items"]] == ["L-2", "L-1"]
    assert [lot["code"] for lot in second["items"]] == ["L-0"]
    assert second["next"] is None


def test_locations_are_logistics_sites(shop: Any, get: Any) -> None:
    shop.deliver(SiteClosed, site_id=shop.county)

    items = get("/locations").json["items"]

    assert [(item["code"], item["is_open"]) for item in items] == [
        ("540400", True),
        ("540421", False),
        ("540421103", True),
    ]


# --- Stock -------------------------------------------------------------------------------------


def at_centre(shop: Any, lot_id: UUID, **more: Any) -> dict[str, Any]:
    return {"lot_id": str(lot_id), "location_id": str(shop.centre)} | more


def test_goods_are_received_and_stand_in_the_ledger(
    shop: Any, post: Any, get: Any, recorded_events: Recorded
) -> None:
    lot_id = shop.add_lot("L-1", 0)

    answer = post("/stock/receipts", at_centre(shop, lot_id, quantity=100))

    assert (answer.status_code, answer.json["available"]) == (201, 100)
    assert get("/stock", lot_id=str(lot_id)).json["items"] == [answer.json]
    (movement,) = get("/stock/movements", lot_id=str(lot_id)).json["items"]
    assert (movement["from_bucket"], movement["to_bucket"]) == ("received", "available")
    assert (movement["quantity"], movement["actor"]) == (100, "operator")
    assert recorded_events()[-1][0] == "catalog.stock_received.v1"


def test_a_repeated_receipt_is_received_once(shop: Any, post: Any) -> None:
    lot_id = shop.add_lot("L-1", 0)
    key = {"Idempotency-Key": "truck-7"}

    answers = [
        post("/stock/receipts", at_centre(shop, lot_id, quantity=100), **key) for _ in range(2)
    ]

    assert answers[0].json == answers[1].json
    assert shop.level(lot_id) == {"available": 100}


@pytest.mark.parametrize("quantity", [0, -1, 1.5, "5", True, None, 10**9 + 1, 10**30])
def test_an_absurd_quantity_is_refused(shop: Any, post: Any, quantity: Any) -> None:
    lot_id = shop.add_lot("L-1", 0)

    answer = post("/stock/receipts", at_centre(shop, lot_id, quantity=quantity))

    assert answer.status_code == 422
    assert shop.level(lot_id) == {}


def test_goods_for_an_unknown_lot_or_place_are_refused(shop: Any, post: Any) -> None:
    lot_id = shop.add_lot("L-1", 0)
    nowhere = {"lot_id": str(lot_id), "location_id": str(new_id()), "quantity": 1}

    unknown_lot = post("/stock/receipts", at_centre(shop, new_id(), quantity=1))
    unknown_place = post("/stock/receipts", nowhere)

    assert (unknown_lot.status_code, kind_of(unknown_lot)) == (404, "lot-not-found")
    assert (unknown_place.status_code, kind_of(unknown_place)) == (422, "unknown-location")


def test_a_closed_location_takes_nothing_in_but_can_be_emptied(shop: Any, post: Any) -> None:
    lot_id = shop.add_lot("L-1", 100, at=shop.station)
    shop.deliver(SiteClosed, site_id=shop.station)
    receipt = {"lot_id": str(lot_id), "location_id": str(shop.station), "quantity": 1}
    away = {
        "lot_id": str(lot_id),
        "from_location_id": str(shop.station),
        "to_location_id": str(shop.centre),
        "quantity": 100,
    }

    refused = post("/stock/receipts", receipt)
    moved = post("/stock/moves", away)

    assert (refused.status_code, kind_of(refused)) == (409, "location-closed")
    assert moved.status_code == 201
    assert shop.level(lot_id) == {"available": 100}


def test_stock_is_adjusted_with_a_reason(shop: Any, post: Any, recorded_events: Recorded) -> None:
    lot_id = shop.add_lot("L-1", 100)

    post("/stock/adjustments", at_centre(shop, lot_id, difference=-30, reason="shrunk"))
    answer = post("/stock/adjustments", at_centre(shop, lot_id, difference=5, reason="counted"))

    assert (answer.status_code, answer.json["available"]) == (201, 75)
    adjusted = [data for kind, data in recorded_events() if kind == "catalog.stock_adjusted.v1"]
    assert [(data["difference"], data["reason"]) for data in adjusted] == [
        (-30, "shrunk"),
        (5, "counted"),
    ]


def test_what_is_promised_cannot_be_adjusted_away(shop: Any, post: Any) -> None:
    """Below zero is refused, not warned about.

    odoo#79279; opensourcepos#3077, #1879; defendicon/POS-Awesome-V15#330, #128, #1847
    """
    lot_id = shop.add_lot("L-1", 100)
    shop.place(70)

    answer = post("/stock/adjustments", at_centre(shop, lot_id, difference=-31, reason="counted"))

    assert (answer.status_code, kind_of(answer)) == (409, "out-of-stock")
    assert (answer.json["requested"], answer.json["present"]) == (31, 30)
    assert shop.level(lot_id) == {"available": 30, "reserved": 70}


@pytest.mark.parametrize(
    "changes",
    [
        {"difference": 0},
        {"reason": "because"},
        {"difference": 5, "reason": "shrunk"},
        {"difference": 5, "reason": "spoiled"},
    ],
)
def test_an_impossible_adjustment_is_refused(shop: Any, post: Any, changes: dict[str, Any]) -> None:
    lot_id = shop.add_lot("L-1", 100)
    adjustment = at_centre(shop, lot_id, difference=-5, reason="counted")

    answer = post("/stock/adjustments", adjustment | changes)

    assert answer.status_code == 422
    assert shop.level(lot_id) == {"available": 100}


def test_stock_set_to_0_is_not_sold_afterwards(
    shop: Any, post: Any, recorded_events: Recorded
) -> None:
    """Stock set to 0 while orders run: nothing is sold afterwards, no one needs refunding.

    openfoodfoundation/openfoodnetwork#6417, #14174, #12586
    """
    lot_id = shop.add_lot("L-1", 100)
    shop.place(40)

    post("/stock/adjustments", at_centre(shop, lot_id, difference=-60, reason="counted"))
    late = shop.place(1)

    answers = {d["order_id"]: kind for kind, d in recorded_events() if "order_id" in d}
    assert answers[str(late)] == "catalog.stock_refused.v1"
    assert shop.level(lot_id) == {"reserved": 40}


def test_stock_is_moved_between_locations_and_none_of_it_twice(shop: Any, post: Any) -> None:
    lot_id = shop.add_lot("L-1", 100)
    move = {
        "lot_id": str(lot_id),
        "from_location_id": str(shop.centre),
        "to_location_id": str(shop.station),
    }

    moved = post("/stock/moves", move | {"quantity": 60})
    too_much = post("/stock/moves", move | {"quantity": 41})
    to_itself = post("/stock/moves", move | {"to_location_id": str(shop.centre), "quantity": 1})

    assert [item["available"] for item in moved.json["items"]] == [40, 60]
    assert (too_much.status_code, too_much.json["present"]) == (409, 40)
    assert (to_itself.status_code, kind_of(to_itself)) == (422, "impossible-move")
    assert shop.level(lot_id, shop.station) == {"available": 60}


def test_what_is_promised_is_not_moved_away(shop: Any, post: Any) -> None:
    lot_id = shop.add_lot("L-1", 100)
    shop.place(70)
    move = {
        "lot_id": str(lot_id),
        "from_location_id": str(shop.centre),
        "to_location_id": str(shop.station),
        "quantity": 31,
    }

    answer = post("/stock/moves", move)

    assert (answer.status_code, kind_of(answer)) == (409, "out-of-stock")


def test_the_summary_shows_what_came_and_went_and_that_it_adds_up(
    shop: Any, post: Any, get: Any
) -> None:
    lot_id = shop.add_lot("L-1", 100)
    post("/stock/adjustments", at_centre(shop, lot_id, difference=-10, reason="shrunk"))
    shop.place(40)

    summary = get("/stock/summary").json

    (variant,) = summary["items"]
    assert variant == {
        "variant_id": str(shop.variant),
        "sku": "MATSUTAKE",
        "unit": "g",
        "received": 100,
        "found": 0,
        "restocked": 0,
        "lost": 10,
        "consumed": 0,
        "in_transit": 0,
        "available": 50,
        "reserved": 40,
        "committed": 0,
        "allotted": 0,
        "held": 0,
        "damaged": 0,
        "on_hand": 90,
        "balanced": True,
    }
    assert (summary["balanced"], summary["differences"]) == (True, [])
    assert summary["totals"]["on_hand"] == 90


def test_an_orders_reservation_is_shown_lot_by_lot(shop: Any, get: Any) -> None:
    lot_id = shop.add_lot("L-1", 100)
    order_id = shop.place(40)

    reservation = get(f"/reservations/{order_id}").json

    assert reservation["status"] == "held"
    assert [(line["lot_id"], line["quantity"]) for line in reservation["lines"]] == [
        (str(lot_id), 40)
    ]
    assert get(f"/reservations/{new_id()}").status_code == 404


def test_the_trace_shows_an_orders_stock_and_what_it_waits_for(shop: Any, get: Any) -> None:
    shop.add_lot("L-1", 100)
    order_id = shop.place(40)

    trace = get(f"/trace/{order_id}").json

    assert trace["service"] == "catalog"
    assert trace["state"]["reservation"] == "held"
    assert trace["state"]["lots"] == [
        {"line_no": 1, "quantity": 40, "lot": "L-1", "location": "540400"}
    ]
    assert trace["waiting_for"][0]["what"].startswith("orders to confirm")
    assert [fact["type"] for fact in trace["published"]] == ["catalog.stock_reserved.v1"]
    assert [fact["type"] for fact in trace["handled"]] == ["orders.order_placed.v1"]
