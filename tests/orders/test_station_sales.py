"""Operators of stations: what tills said, files of tills that cannot upload, and disputes."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from services.orders.models import TillEntry
from shared.events import HandOverRefused, OverdraftSettled
from shared.runtime.ids import new_id

Builder = Callable[..., dict[str, Any]]
Deliver = Callable[..., list[UUID]]
Recorded = Callable[[], list[tuple[str, dict[str, Any]]]]
ReadEntry = Callable[[UUID], TillEntry]
Ask = Callable[[str], Any]
Tell = Callable[..., TestResponse]
Token = Callable[..., dict[str, str]]

pytestmark = pytest.mark.usefixtures("station_price")


def a_file(till: Any, *entries: dict[str, Any]) -> dict[str, Any]:
    """Make what a till exports."""
    return {
        "device_id": str(till.device.device_id),
        "epoch": till.device.epoch,
        "entries": list(entries),
    }


# --- Lists ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", [1, 3, 2, 1]),
        ("status=disputed", [3]),
        ("status=waiting", []),
        ("kind=void", [3, 2]),
        ("epoch=2", [1]),
        ("clerk=扎西", [1]),
        ("device_id={first}", [1, 3, 2, 1]),
        ("device_id={other}", []),
        ("site_id={other}", []),
        ("kind=sale&epoch=1", [1]),
    ],
)
def test_entries_are_listed_the_last_that_came_first(
    enrol: Callable[..., Any], an_entry: Builder, ask: Ask, query: str, numbers: list[int]
) -> None:
    first = enrol()
    first.upload(an_entry("sale", 1), an_entry("void", 2, of=1), an_entry("void", 3, of=1))
    enrol(first.device.device_id, epoch=2).upload(an_entry("sale", 1, clerk="扎西"))

    listed = ask("station-sales?" + query.format(first=first.device.device_id, other=new_id()))

    assert [entry["number"] for entry in listed["items"]] == numbers


def test_entries_are_listed_in_pages(till: Any, an_entry: Builder, ask: Ask) -> None:
    till.upload(*(an_entry("sale", number) for number in range(1, 6)))

    seen, query = [], "station-sales?limit=2"
    page = ask(query)
    seen += page["items"]
    while page["next"]:
        page = ask(f"{query}&cursor={page['next']}")
        seen += page["items"]

    assert [entry["number"] for entry in seen] == [5, 4, 3, 2, 1]


def test_an_entry_is_shown_with_all_that_was_said(till: Any, an_entry: Builder, ask: Ask) -> None:
    sale = an_entry("sale", 1)
    till.upload(sale, an_entry("return", 2, of=1))

    shown, returned = (ask(f"station-sales/{till.id_of(number)}") for number in (1, 2))

    assert shown["body"] == sale
    assert shown["lines"] == sale["lines"]
    assert (returned["of_sale_id"], returned["total_fen"]) == (str(till.id_of(1)), 6800)
    assert (returned["lines"][0]["quantity"], returned["lines"][0]["restock"]) == (500, True)


def test_an_entry_that_nobody_told_of_is_not_found(client: FlaskClient, token: Token) -> None:
    answer = client.get(f"/api/orders/v1/station-sales/{new_id()}", headers=token("stations:read"))

    assert (answer.status_code, answer.json["type"]) == (404, "/problems/entry-not-found")


def test_what_has_come_of_each_epoch_of_a_device_is_listed(
    enrol: Callable[..., Any], an_entry: Builder, ask: Ask
) -> None:
    first = enrol()
    first.upload(an_entry("sale", 2), an_entry("sale", 5), an_entry("sale", 5, clerk="x"))
    enrol(first.device.device_id, epoch=2).upload(an_entry("sale", 1))
    enrol().upload(an_entry("sale", 1))

    listed = ask(f"till/devices?device_id={first.device.device_id}")["items"]

    old, new = sorted(listed, key=lambda each: each["epoch"])
    assert (old["entries"], old["highest"], old["holes"], old["disputed"]) == (2, 5, 3, 1)
    assert (new["entries"], new["highest"], new["holes"], new["disputed"]) == (1, 1, 0, 0)
    assert old["device_code"] == "T-1"
    assert old["last_upload_at"] is not None


# --- Files ---------------------------------------------------------------------------------------


def test_a_tills_file_is_taken_like_its_upload_even_when_its_key_was_revoked(
    enrol: Callable[..., Any], an_entry: Builder, tell: Tell, recorded_events: Recorded
) -> None:
    """A till that broke before it could upload: its sales are not lost.

    Reported in odoo#125037, #203431, #261096.
    """
    till = enrol(scopes=[])
    entries = an_entry("sale", 1), an_entry("sale", 2)

    first = tell("station-sales/import", **a_file(till, *entries))
    again = tell("station-sales/import", **a_file(till, *entries), format=1)

    assert first.status_code == again.status_code == 200
    assert first.json["device_id"] == str(till.device.device_id)
    assert [answer["status"] for answer in first.json["answers"]] == ["accepted"] * 2
    assert [answer["status"] for answer in again.json["answers"]] == ["duplicate"] * 2
    assert [told["site_id"] for _, told in recorded_events()] == [str(till.device.site_id)] * 2


def test_a_file_and_an_upload_of_the_same_entries_count_once(
    till: Any, an_entry: Builder, tell: Tell, recorded_events: Recorded
) -> None:
    till.upload(an_entry("sale", 1))

    tell("station-sales/import", **a_file(till, an_entry("sale", 1), an_entry("sale", 2)))
    till.upload(an_entry("sale", 2))

    assert [told["number"] for _, told in recorded_events()] == [1, 2]


def test_a_file_of_a_device_that_nobody_enrolled_is_refused(
    till: Any, an_entry: Builder, tell: Tell
) -> None:
    unknown = a_file(till, an_entry("sale", 1)) | {"epoch": 2}

    answer = tell("station-sales/import", **unknown)

    assert (answer.status_code, answer.json["type"]) == (404, "/problems/unknown-device")


# --- Disputes ------------------------------------------------------------------------------------


def _too_much() -> dict[str, Any]:
    return {"line_no": 1, "quantity": 1001, "refund_fen": 6800, "restock": True}


@pytest.mark.parametrize(
    ("book_cash", "resolution", "held_fen"),
    [(True, "cash_booked", 13_600 - 6800), (False, "noted", 13_600)],
)
def test_a_disputed_return_is_acknowledged_and_its_cash_counts_if_it_was_given_back(
    till: Any,
    an_entry: Builder,
    tell: Tell,
    ask: Ask,
    book_cash: bool,
    resolution: str,
    held_fen: int,
) -> None:
    till.upload(an_entry("sale", 1), an_entry("return", 2, of=1, lines=[_too_much()]))
    path = f"station-sales/{till.id_of(2)}/acknowledge"

    answer = tell(path, note="asked the clerk", book_cash=book_cash)

    assert answer.status_code == 200, answer.text
    entry = answer.json
    assert (entry["status"], entry["resolution"]) == ("acknowledged", resolution)
    assert (entry["note"], entry["resolved_by"]) == ("asked the clerk", "operator")
    assert ask("cash/custody")["items"][0]["held_fen"] == held_fen
    assert ask("verify")["differences"] == []
    assert till.attention()["items"][0]["status"] == "acknowledged"
    decided = tell(path, note="again", book_cash=True)
    assert (decided.status_code, decided.json["type"]) == (409, "/problems/not-disputed")


def test_a_void_whose_sale_is_lost_for_ever_can_be_decided_and_stays_so(
    till: Any, an_entry: Builder, tell: Tell, ask: Ask, recorded_events: Recorded
) -> None:
    till.upload(an_entry("void", 2, of=1))

    answer = tell(f"station-sales/{till.id_of(2)}/acknowledge", note="sale lost", book_cash=True)
    till.upload(an_entry("sale", 1))  # found after all

    assert answer.json["status"] == "acknowledged"
    assert [told["kind"] for _, told in recorded_events()] == ["sale"]
    assert ask("cash/custody")["items"][0]["held_fen"] == 0
    assert ask("verify")["differences"] == []


@pytest.mark.parametrize("kind", ["sale", "void", "hand_over", "order", "shift_open"])
def test_what_is_unreadable_is_acknowledged(
    till: Any, an_entry: Builder, tell: Tell, ask: Ask, kind: str
) -> None:
    till.upload(an_entry(kind, 1, colour="red"))

    answer = tell(f"station-sales/{till.id_of(1)}/acknowledge", note="seen")

    assert (answer.json["status"], answer.json["resolution"]) == ("acknowledged", "noted")
    assert ask("verify")["differences"] == []


@pytest.mark.parametrize(
    ("kind", "changes", "why"),
    [
        ("sale", {"colour": "red"}, "it cannot be read"),
        ("return", {"colour": "red"}, "it cannot be read"),
        ("return", {"lines": [_too_much()], "payment": "mobile"}, "given back by mobile"),
        ("return", {"lines": [_too_much() | {"refund_fen": 0}], "refund_fen": 0}, "moves no cash"),
        ("order", {"colour": "red"}, "it cannot be read"),
    ],
)
def test_no_cash_is_said_to_be_booked_where_none_is(
    till: Any,
    an_entry: Builder,
    tell: Tell,
    ask: Ask,
    read_entry: ReadEntry,
    kind: str,
    changes: dict[str, Any],
    why: str,
) -> None:
    till.upload(
        an_entry("sale", 1), an_entry(kind, 2, **({"of": 1} if kind == "return" else {}), **changes)
    )
    before = ask("cash/custody")

    answer = tell(f"station-sales/{till.id_of(2)}/acknowledge", note="seen", book_cash=True)

    assert (answer.status_code, answer.json["type"]) == (409, "/problems/nothing-to-book")
    assert why in answer.json["detail"]
    assert read_entry(till.id_of(2)).status == "disputed"
    assert ask("cash/custody") == before


def test_the_cash_of_a_parcel_that_was_refused_is_not_booked_twice(
    till: Any, an_entry: Builder, tell: Tell, ask: Ask, deliver: Deliver
) -> None:
    given = an_entry("hand_over", 1)
    till.upload(given)
    shipment_id = UUID(given["shipment_id"])
    deliver(HandOverRefused, shipment_id=shipment_id, entry_id=till.id_of(1), reason="wrong-code")

    answer = tell(f"station-sales/{till.id_of(1)}/acknowledge", note="seen", book_cash=True)

    assert (answer.status_code, answer.json["type"]) == (409, "/problems/nothing-to-book")
    assert ask("cash/custody")["items"][0]["held_fen"] == 13_600
    noted = tell(f"station-sales/{till.id_of(1)}/acknowledge", note="seen")
    assert noted.json["resolution"] == "noted"


def test_a_second_copy_that_never_counted_is_acknowledged(
    till: Any, an_entry: Builder, tell: Tell, ask: Ask, recorded_events: Recorded
) -> None:
    till.upload(*(an_entry("sale", 1, voided=True, clerk=clerk) for clerk in ("卓嘎", "扎西")))
    (copy,) = ask("station-sales?status=disputed")["items"]

    answer = tell(f"station-sales/{copy['sale_id']}/acknowledge", note="seen")

    assert answer.json["status"] == "acknowledged"
    assert recorded_events() == []
    assert ask("verify")["differences"] == []


def test_a_disputed_sales_goods_are_decided_in_catalog(
    till: Any,
    an_entry: Builder,
    tell: Tell,
    ask: Ask,
    deliver: Deliver,
    read_entry: ReadEntry,
) -> None:
    till.upload(an_entry("sale", 1), an_entry("sale", 1, clerk="扎西"))
    copy = UUID(ask("station-sales?status=disputed")["items"][0]["sale_id"])

    answer = tell(f"station-sales/{copy}/acknowledge", note="seen")

    assert (answer.status_code, answer.json["type"]) == (409, "/problems/goods-to-decide")
    assert f"/overdrafts/{copy}/settle" in answer.json["detail"]
    deliver(OverdraftSettled, sale_id=copy, resolution="lost")
    assert (read_entry(copy).status, read_entry(copy).resolution) == ("settled", "lost")


@pytest.mark.parametrize("number", [1, 2])
def test_what_is_not_disputed_is_not_acknowledged(
    till: Any, an_entry: Builder, tell: Tell, number: int
) -> None:
    till.upload(an_entry("sale", 1), an_entry("return", 2, of=1))

    answer = tell(f"station-sales/{till.id_of(number)}/acknowledge", note="seen")

    assert (answer.status_code, answer.json["type"]) == (409, "/problems/not-disputed")


def test_an_entry_that_nobody_told_of_is_not_acknowledged(tell: Tell) -> None:
    answer = tell(f"station-sales/{new_id()}/acknowledge", note="seen")

    assert (answer.status_code, answer.json["type"]) == (404, "/problems/entry-not-found")


@pytest.mark.parametrize("path", ["station-sales/import", "cash/remittances", "cash/write-offs"])
def test_who_may_only_read_changes_nothing(client: FlaskClient, token: Token, path: str) -> None:
    answer = client.post(f"/api/orders/v1/{path}", json={}, headers=token("stations:read"))

    assert answer.status_code == 403
