"""A flaw in a label voids neither goods nor money: the entry counts, and the flaw is flagged."""

from collections.abc import Callable
from typing import Any

import pytest

from services.orders.rules.till import NO_NAME
from tests.orders.reading import Recorded, types_of
from tests.orders.till.device import Till, words

Builder = Callable[..., dict[str, Any]]
Ask = Callable[[str], Any]
pytestmark = pytest.mark.usefixtures("station_price")


@pytest.mark.parametrize(
    ("typed", "clerk", "flags"),
    [
        ("卓嘎\u3000", "卓嘎", []),
        ("\u200b卓嘎", "卓嘎", []),
        ("卓\x00嘎", "卓嘎", []),
        ("\u3000\u200b", NO_NAME, ["clerk_unclear"]),
        ({"\x00": "\ud800"}, NO_NAME, ["clerk_unclear"]),
    ],
)
def test_goods_and_money_are_booked_whatever_the_clerk_is_called(
    till: Till,
    an_entry: Builder,
    ask: Ask,
    recorded_events: Recorded,
    typed: Any,
    clerk: str,
    flags: list[str],
) -> None:
    entries = [an_entry("sale", 1, clerk=typed), an_entry("return", 2, of=1, clerk=typed)]

    assert words(till.upload(*entries)) == ["accepted", "accepted"]
    assert words(till.upload(*entries)) == ["duplicate", "duplicate"]

    assert types_of(recorded_events()) == ["station_sale_recorded"] * 2
    (custody,) = ask("cash/custody")["items"]
    assert (custody["clerk"], custody["held_fen"]) == (clerk, 13_600 - 6800)
    assert [entry["flags"] for entry in ask("station-sales")["items"]] == [flags, flags]
    assert ask("verify")["differences"] == []


def test_names_that_look_the_same_are_one_custody(till: Till, an_entry: Builder, ask: Ask) -> None:
    names = ["Zoë", "Zoe\u0308", " Zoë", "Zoë\u00a0", "Zo\u200bë"]

    till.upload(*(an_entry("sale", number, clerk=name) for number, name in enumerate(names, 1)))

    (custody,) = ask("cash/custody")["items"]
    assert (custody["clerk"], custody["collected_fen"]) == ("Zoë", 5 * 13_600)


@pytest.mark.parametrize("shown", [None, "0000-00-00T00:00:00Z", "10000-01-01T00:00:00Z"])
def test_a_sale_of_a_clock_that_shows_no_moment_is_booked_and_priced(
    till: Till, an_entry: Builder, ask: Ask, recorded_events: Recorded, shown: Any
) -> None:
    assert words(till.upload(an_entry("sale", 1, device_time=shown))) == ["accepted"]

    (sale,) = ask("station-sales")["items"]
    assert (sale["flags"], sale["device_time"]) == (["clock_off"], None)
    assert recorded_events()[-1][1]["device_time"] == sale["received_at"]


@pytest.mark.parametrize(
    ("contact", "flag", "told"),
    [
        ({"phone": "1-800-FLOWERS"}, "phone_unclear", {"phone": "1-800-FLOWERS"}),
        ({"phone": "13800138000 ext 5"}, "phone_unclear", {"phone": "13800138000 ext 5"}),
        ({"name": "\u3000"}, "contact_unclear", {"name": NO_NAME}),
        ({"address": "\u200b"}, "contact_unclear", {"address": None}),
    ],
)
def test_an_order_whose_buyer_has_gone_home_is_taken_with_the_contact_that_there_is(
    till: Till,
    an_entry: Builder,
    ask: Ask,
    recorded_events: Recorded,
    contact: dict[str, Any],
    flag: str,
    told: dict[str, Any],
) -> None:
    order = an_entry("order", 1)
    order["order"]["contact"] |= contact

    assert words(till.upload(order)) == ["accepted"]

    (_, given), (_, placed) = recorded_events()
    assert given | told == given
    assert placed["order_id"] == str(till.id_of(1))
    (entry,) = ask("station-sales")["items"]
    assert entry["flags"] == [flag]
    assert told.get("phone", "?") not in str(ask(f"orders/{till.id_of(1)}"))


def test_the_note_of_a_closing_is_kept_in_its_form(till: Till, an_entry: Builder, ask: Ask) -> None:
    till.upload(
        an_entry("shift_open", 1),
        an_entry("shift_close", 2, note="two\u3000notes\x07 torn \u200b"),
    )

    assert ask("cash/shifts")["items"][0]["note"] == "two notes torn"
