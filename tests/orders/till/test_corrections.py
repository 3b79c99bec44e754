"""An operator corrects what nobody could read, and a label that is flagged; it counts once."""

from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from services.orders.rules.till import NO_NAME
from tests.orders.reading import Recorded, types_of
from tests.orders.till.device import Till, words

Builder = Callable[..., dict[str, Any]]
Ask = Callable[[str], Any]
Tell = Callable[..., TestResponse]
pytestmark = pytest.mark.usefixtures("station_price")


def _correct(tell: Tell, till: Till, number: int, /, **changes: Any) -> TestResponse:
    path = f"station-sales/{till.id_of(number)}/correct"
    return tell(path, changes=changes, note="asked the clerk")


def test_a_sale_that_nobody_could_read_is_booked_once_it_is_corrected(
    till: Till, an_entry: Builder, tell: Tell, ask: Ask, recorded_events: Recorded
) -> None:
    raw = an_entry("sale", 1, colour="red", shift=7)
    assert words(till.upload(raw)) == ["disputed unreadable"]

    answer = _correct(tell, till, 1, colour=None, shift=1)

    assert answer.status_code == 200, answer.text
    entry = answer.json
    assert (entry["status"], entry["resolution"]) == ("accepted", "corrected")
    assert (entry["note"], entry["resolved_by"]) == ("asked the clerk", "operator")
    assert entry["sent"] == raw
    assert (entry["body"]["shift"], "colour" in entry["body"]) == (1, False)
    assert types_of(recorded_events()) == ["station_sale_disputed", "station_sale_recorded"]
    (custody,) = ask("cash/custody")["items"]
    assert (custody["clerk"], custody["held_fen"]) == ("卓嘎", 13_600)
    assert till.attention()["items"] == []
    assert words(till.upload(raw)) == ["duplicate"]
    assert ask("verify")["differences"] == []
    again = _correct(tell, till, 1, shift=1)
    assert (again.status_code, again.json["type"]) == (409, "/problems/nothing-to-correct")


def test_what_was_noted_and_never_booked_can_still_be_corrected(
    till: Till, an_entry: Builder, tell: Tell, ask: Ask
) -> None:
    till.upload(an_entry("sale", 1, colour="red"))
    tell(f"station-sales/{till.id_of(1)}/acknowledge", note="seen")

    assert _correct(tell, till, 1, colour=None).status_code == 200

    assert ask("cash/custody")["items"][0]["held_fen"] == 13_600
    assert ask("verify")["differences"] == []


def test_voids_and_returns_that_were_disputed_for_an_unreadable_sale_count_with_it(
    till: Till, an_entry: Builder, tell: Tell, ask: Ask, recorded_events: Recorded
) -> None:
    till.upload(an_entry("sale", 1, colour="red"), an_entry("return", 2, of=1), an_entry("sale", 3))
    before = ask("cash/custody")["items"][0]["held_fen"]

    _correct(tell, till, 1, colour=None)

    assert before == 13_600
    assert ask("cash/custody")["items"][0]["held_fen"] == 2 * 13_600 - 6800
    assert [told["kind"] for type_, told in recorded_events() if "recorded" in type_] == [
        "sale",
        "sale",
        "return",
    ]
    assert ask("station-sales?status=disputed")["items"] == []
    assert ask("verify")["differences"] == []


def test_a_return_that_nobody_could_read_waits_for_its_sale_once_it_is_corrected(
    till: Till, an_entry: Builder, tell: Tell, ask: Ask
) -> None:
    till.upload(an_entry("return", 2, of=1, refund_fen=1))

    waits = _correct(tell, till, 2, refund_fen=6800)
    till.upload(an_entry("sale", 1))

    assert waits.json["status"] == "waiting"
    assert ask("cash/custody")["items"][0]["held_fen"] == 13_600 - 6800
    assert ask("verify")["differences"] == []


def test_a_shift_an_order_and_a_parcel_that_nobody_could_read_take_effect(
    till: Till, an_entry: Builder, tell: Tell, ask: Ask, recorded_events: Recorded
) -> None:
    order = an_entry("order", 2, colour="red")
    till.upload(an_entry("shift_open", 1, shift=2), order, an_entry("hand_over", 3, colour="red"))

    _correct(tell, till, 1, shift=1)
    _correct(tell, till, 2, colour=None, order={"contact": order["order"]["contact"]})
    _correct(tell, till, 3, colour=None, received_by="扎西")

    assert ask("cash/shifts")["items"][0]["float_fen"] == 20_000
    assert types_of(recorded_events()) == ["contact_given", "order_placed", "parcel_handed_over"]
    assert recorded_events()[-1][1]["received_by"] == "扎西"
    assert "扎西" not in str(ask(f"station-sales/{till.id_of(3)}"))
    assert ask("cash/custody")["items"][0]["held_fen"] == 13_600


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"shift": 1}, "unknown field `colour`"),
        ({"colour": None, "number": 2}, "number"),
        ({"colour": None, "total_fen": "136"}, "total_fen"),
    ],
)
def test_changes_that_leave_an_entry_unreadable_change_nothing(
    till: Till, an_entry: Builder, tell: Tell, ask: Ask, changes: dict[str, Any], says: str
) -> None:
    till.upload(an_entry("sale", 1, colour="red"))
    before = ask(f"station-sales/{till.id_of(1)}")

    answer = _correct(tell, till, 1, **changes)

    assert (answer.status_code, answer.json["type"]) == (422, "/problems/still-unreadable")
    assert says in answer.json["detail"]
    assert ask(f"station-sales/{till.id_of(1)}") == before


def test_what_was_read_is_not_changed(till: Till, an_entry: Builder, tell: Tell, ask: Ask) -> None:
    till.upload(an_entry("sale", 1))

    for changes in ({"total_fen": 1}, {"clerk": "扎西"}):
        answer = _correct(tell, till, 1, **changes)
        assert (answer.status_code, answer.json["type"]) == (409, "/problems/nothing-to-correct")

    assert ask("cash/custody")["items"][0]["clerk"] == "卓嘎"


def test_a_clerk_without_a_name_gets_one_and_with_it_the_cash_of_the_shift(
    till: Till, an_entry: Builder, tell: Tell, ask: Ask
) -> None:
    nameless = {"clerk": "\u3000", "shift": 1}
    till.upload(
        an_entry("shift_open", 1, **nameless),
        an_entry("sale", 2, **nameless),
        an_entry("return", 3, of=2, **nameless),
        an_entry("shift_open", 4, clerk="\u200b", shift=4),
        an_entry("sale", 5, clerk="\u200b", shift=4),
    )

    answer = _correct(tell, till, 2, clerk=" 扎西\u3000")

    assert answer.status_code == 200, answer.text
    assert (answer.json["clerk"], answer.json["flags"]) == ("扎西", [])
    assert answer.json["sent"]["clerk"] == "\u3000"
    held = {row["clerk"]: row["held_fen"] for row in ask("cash/custody")["items"]}
    assert held == {"扎西": 13_600 - 6800, NO_NAME: 13_600}
    assert [shift["clerk"] for shift in ask("cash/shifts")["items"]] == [NO_NAME, "扎西"]
    assert ask("verify")["differences"] == []
    blank = _correct(tell, till, 5, clerk="\u3000")
    assert (blank.status_code, blank.json["type"]) == (422, "/problems/still-unreadable")


def test_the_contact_of_an_order_is_told_anew(
    till: Till, an_entry: Builder, tell: Tell, ask: Ask, recorded_events: Recorded
) -> None:
    order = an_entry("order", 1)
    right = dict(order["order"]["contact"])
    order["order"]["contact"]["phone"] = "0894-5801234 转 8"
    till.upload(order)

    wrong = _correct(tell, till, 1, order={"contact": order["order"]["contact"]})
    other = _correct(tell, till, 1, order={"contact": right, "collect": True})
    answer = _correct(tell, till, 1, order={"contact": right})

    assert (wrong.json["type"], other.json["type"]) == (
        "/problems/still-unreadable",
        "/problems/nothing-to-correct",
    )
    assert (answer.status_code, answer.json["flags"]) == (200, [])
    assert types_of(recorded_events()) == ["contact_given", "order_placed", "contact_given"]
    assert recorded_events()[-1][1]["phone"] == "+8613800138000"
    assert ask(f"orders/{till.id_of(1)}")["masked_phone"] == "+86138******00"
    assert "138 0013" not in str(answer.json["body"])
