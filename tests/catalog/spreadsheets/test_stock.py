"""Stock as CSV: counts, and what moved since they were taken."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from shared.events import ShipmentDispatched, SiteClosed
from shared.runtime import clock
from shared.runtime.ids import new_id
from tests.catalog.spreadsheets.rows import COUNT, STOCK, Recorded, counts, mistakes


def test_new_stock_is_received_and_known_stock_adjusted_to_the_count(
    shop: Any, send: Any, recorded_events: Recorded
) -> None:
    known, new = shop.add_lot("L-1", 100), shop.add_lot("L-2", 0)
    before = len(recorded_events())

    answer = send("stock", COUNT + "L-1,540400,90,100\r\nL-2,540400,50,\r\n")

    assert counts(answer) == (1, 1, 0)
    assert (shop.level(known), shop.level(new)) == ({"available": 90}, {"available": 50})
    assert [kind for kind, _ in recorded_events()[before:]] == [
        "catalog.stock_adjusted.v1",
        "catalog.stock_received.v1",
    ]


def test_a_count_includes_what_is_promised_and_cannot_go_below_it(shop: Any, send: Any) -> None:
    lot = shop.add_lot("L-1", 100)
    shop.place(40)

    fits = send("stock", COUNT + "L-1,540400,40,100\r\n")
    below = send("stock", COUNT + "L-1,540400,39,40\r\n")

    assert counts(fits) == (0, 1, 0)
    assert shop.level(lot) == {"reserved": 40}
    assert mistakes(below) == [(2, "on_hand")]


def test_mistakes_in_a_count_are_named(shop: Any, send: Any) -> None:
    shop.add_lot("L-1", 0)
    shop.deliver(SiteClosed, site_id=shop.county)
    rows = (
        "NONE,540400,1\nL-1,NOWHERE,1\nL-1,540421,1\n"
        "L-1,540400,-1\nL-1,540400\n,,\nL-1,540400,1,9\n"
    )

    answer = send("stock", STOCK + rows)

    assert mistakes(answer) == [
        (2, "lot"),
        (3, "location"),
        (4, "location"),
        (5, "on_hand"),
        (6, "on_hand"),
        (8, None),
    ]


def test_exported_stock_can_be_imported_and_changes_nothing(
    shop: Any, send: Any, fetch: Callable[[str], str]
) -> None:
    shop.add_lot("L-1", 100)
    shop.add_lot("L-2", 30, at=shop.station)
    shop.place(40)

    answer = send("stock", fetch("stock"))

    assert counts(answer) == (0, 0, 2)


def _dispatched(shop: Any, quantity: int) -> None:
    order = shop.place(quantity)
    shop.confirm(order)
    shop.dispatch(order, new_id())


def test_what_was_dispatched_since_an_export_does_not_come_back(
    shop: Any, send: Any, fetch: Callable[[str], str]
) -> None:
    lot = shop.add_lot("L-1", 5000)
    exported = fetch("stock")
    _dispatched(shop, 1000)

    answer = send("stock", exported)

    assert counts(answer) == (0, 0, 1)
    assert shop.level(lot) == {"available": 4000}


def test_a_count_against_books_that_moved_is_refused_with_the_difference(
    shop: Any, send: Any, fetch: Callable[[str], str]
) -> None:
    lot = shop.add_lot("L-1", 5000)
    exported = fetch("stock")
    _dispatched(shop, 1000)

    tried = send("stock", exported.replace(",5000,5000,", ",4900,5000,"), dry_run=True)

    assert mistakes(tried) == [(2, "on_hand")]
    assert "5000 lay there" in tried.json["errors"][0]["message"]
    assert "4000 do now" in tried.json["errors"][0]["message"]
    assert shop.level(lot) == {"available": 4000}


def test_books_that_moved_and_moved_back_refuse_a_count_too(
    shop: Any, send: Any, fetch: Callable[[str], str], post: Any
) -> None:
    lot = shop.add_lot("L-1", 5000)
    exported = fetch("stock")
    _dispatched(shop, 1000)
    receipt = {"lot_id": str(lot), "location_id": str(shop.centre), "quantity": 1000}
    assert post("/stock/receipts", receipt).status_code == 201

    answer = send("stock", exported.replace(",5000,5000,", ",4900,5000,"))

    assert mistakes(answer) == [(2, "on_hand")]


def test_what_orders_took_after_the_moment_of_a_count_is_accounted_for(
    shop: Any, send: Any
) -> None:
    lot = shop.add_lot("L-1", 5000)
    counted = f"lot,location,on_hand,counted_at\r\nL-1,540400,4900,{clock.rfc3339(clock.now())}\r\n"
    _dispatched(shop, 1000)

    tried = send("stock", counted, dry_run=True)
    answer = send("stock", counted)
    again = send("stock", counted)

    assert [(each["name"], each["before"], each["after"]) for each in tried.json["changes"]] == [
        ("L-1 at 540400", 4000, 3900)
    ]
    assert (counts(answer), counts(again)) == ((0, 1, 0), (0, 0, 1))
    assert shop.level(lot) == {"available": 3900}


def test_goods_that_went_before_a_count_and_were_booked_after_it_are_not_taken_off_twice(
    shop: Any, send: Any
) -> None:
    lot = shop.add_lot("L-1", 5000)
    went = new_id()
    order = shop.place(1000)
    shop.confirm(order)
    counted = f"lot,location,on_hand,counted_at\r\nL-1,540400,4000,{clock.rfc3339(clock.now())}\r\n"
    shop.deliver(
        ShipmentDispatched,
        _event_id=went,
        shipment_id=new_id(),
        shipment_ref="SHP-23456789",
        order_id=order,
        lines=shop.shipped(order),
    )

    assert counts(send("stock", counted)) == (0, 0, 1)
    assert shop.level(lot) == {"available": 4000}


def test_a_count_is_refused_when_the_books_were_corrected_since(
    shop: Any, send: Any, post: Any
) -> None:
    lot = shop.add_lot("L-1", 5000)
    counted = f"lot,location,on_hand,counted_at\r\nL-1,540400,4900,{clock.rfc3339(clock.now())}\r\n"
    change = {"lot_id": str(lot), "location_id": str(shop.centre), "difference": -50}
    assert post("/stock/adjustments", change | {"reason": "spoiled"}).status_code == 201

    answer = send("stock", counted)

    assert mistakes(answer) == [(2, "on_hand")]
    assert "spoiled" in answer.json["errors"][0]["message"]


def test_a_count_without_what_it_was_taken_against_changes_nothing(shop: Any, send: Any) -> None:
    lot = shop.add_lot("L-1", 5000)

    same = send("stock", STOCK + "L-1,540400,5000\r\n")
    other = send("stock", STOCK + "L-1,540400,4900\r\n")

    assert counts(same) == (0, 0, 1)
    assert mistakes(other) == [(2, "on_hand")]
    assert "counted_at" in other.json["errors"][0]["message"]
    assert shop.level(lot) == {"available": 5000}


def test_a_count_of_tomorrow_is_refused(shop: Any, send: Any) -> None:
    shop.add_lot("L-1", 5000)
    tomorrow = clock.rfc3339(clock.now() + timedelta(days=1))

    answer = send("stock", f"lot,location,on_hand,counted_at\r\nL-1,540400,4900,{tomorrow}\r\n")

    assert mistakes(answer) == [(2, "counted_at")]


def test_an_edited_export_changes_the_books_once(
    shop: Any, send: Any, fetch: Callable[[str], str]
) -> None:
    lot = shop.add_lot("L-1", 5000)
    edited = fetch("stock").replace(",5000,5000,", ",4900,5000,")

    assert counts(send("stock", edited)) == (0, 1, 0)
    assert counts(send("stock", edited)) == (0, 0, 1)
    assert shop.level(lot) == {"available": 4900}


def test_an_adjustment_names_the_books_that_it_was_found_against(shop: Any, post: Any) -> None:
    lot = shop.add_lot("L-1", 5000)
    change = {"lot_id": str(lot), "location_id": str(shop.centre), "difference": -100}

    late = post("/stock/adjustments", change | {"reason": "counted", "book": 4000})
    right = post("/stock/adjustments", change | {"reason": "counted", "book": 5000})

    assert (late.status_code, late.json["type"]) == (409, "/problems/outdated-count")
    assert (right.status_code, right.json["on_hand"]) == (201, 4900)
