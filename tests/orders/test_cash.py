"""Cash in custody: what a clerk took, gave back and handed on is what the clerk must hold."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import inspect, select
from sqlalchemy.exc import IntegrityError
from werkzeug.test import TestResponse

from services.orders.models import Custody
from shared.runtime.database import Database
from shared.runtime.ids import new_id

Builder = Callable[..., dict[str, Any]]
Recorded = Callable[[], list[tuple[str, dict[str, Any]]]]
Ask = Callable[[str], Any]
Tell = Callable[..., TestResponse]
InThreads = Callable[..., list[Any]]

pytestmark = pytest.mark.usefixtures("station_price")


def test_what_a_clerk_holds_is_collected_minus_refunded_remitted_and_written_off(
    till: Any, an_entry: Builder, tell: Tell, ask: Ask, site_id: UUID, recorded_events: Recorded
) -> None:
    till.upload(
        an_entry("sale", 1),
        an_entry("sale", 2, payment="mobile"),
        an_entry("return", 3, of=1),
        an_entry("hand_over", 4),
    )
    whose = {"site_id": str(site_id), "clerk": "卓嘎"}

    remitted = tell("cash/remittances", **whose, sent_fen=10_000, counted_fen=9900, reason="short")
    written_off = tell("cash/write-offs", **whose, amount_fen=50, reason="torn note")

    assert (remitted.status_code, written_off.status_code) == (201, 201)
    assert remitted.json["recorded_by"] == "operator"
    assert (written_off.json["amount_fen"], written_off.json["cause"]) == (-50, "written_off")
    (custody,) = ask("cash/custody")["items"]
    assert custody == whose | {
        "collected_fen": 27_200,
        "refunded_fen": 6800,
        "remitted_fen": 9900,
        "written_off_fen": 150,
        "held_fen": 27_200 - 6800 - 9900 - 150,
    }
    assert ask("verify")["differences"] == []


def test_cash_may_be_handed_on_before_the_sales_it_was_taken_for_are_uploaded(
    till: Any, an_entry: Builder, tell: Tell, ask: Ask, site_id: UUID
) -> None:
    whose = {"site_id": str(site_id), "clerk": "卓嘎"}
    counts = {"sent_fen": 13_600, "counted_fen": 13_600}
    tell("cash/remittances", **whose, **counts, accept_shortage=True)
    before = ask("cash/custody")["items"][0]["held_fen"]

    till.upload(an_entry("sale", 1))

    assert (before, ask("cash/custody")["items"][0]["held_fen"]) == (-13_600, 0)


#: Two ways out of custody, each of 100 yuan.
OUT = [
    ("cash/remittances", {"sent_fen": 10_000, "counted_fen": 10_000}),
    ("cash/write-offs", {"amount_fen": 10_000, "reason": "torn"}),
]


@pytest.mark.parametrize(("path", "body"), OUT)
def test_a_clerk_whom_nobody_knows_hands_on_nothing_and_near_names_are_told(
    till: Any,
    an_entry: Builder,
    tell: Tell,
    ask: Ask,
    site_id: UUID,
    path: str,
    body: dict[str, Any],
    recorded_events: Recorded,
) -> None:
    till.upload(an_entry("sale", 1), an_entry("sale", 2, clerk="Tenzin"))
    before = ask("cash/custody")
    events = len(recorded_events())

    slip = tell(path, site_id=str(site_id), clerk="卓玛", **body)
    far = tell(path, site_id=str(site_id), clerk="Wang", **body)

    assert (slip.status_code, slip.json["type"]) == (422, "/problems/unknown-clerk")
    assert (slip.json["near"], far.json["near"]) == (["卓嘎"], [])
    assert "Did you mean 卓嘎?" in slip.json["detail"]
    assert "Did you mean" not in far.json["detail"]
    assert "accept_shortage" in far.json["detail"]
    assert (ask("cash/custody"), len(recorded_events())) == (before, events)


@pytest.mark.parametrize(("path", "body"), OUT)
def test_more_than_a_clerk_holds_leaves_custody_only_when_that_is_said(
    till: Any,
    an_entry: Builder,
    tell: Tell,
    ask: Ask,
    site_id: UUID,
    path: str,
    body: dict[str, Any],
) -> None:
    till.upload(an_entry("sale", 1))
    whose = {"site_id": str(site_id), "clerk": "卓嘎"}
    first = tell(path, **whose, **body)

    refused = tell(path, **whose, **body)
    held = ask("cash/custody")["items"][0]["held_fen"]
    accepted = tell(path, **whose, **body, accept_shortage=True)

    assert (first.status_code, held) == (201, 3600)
    assert (refused.status_code, refused.json["type"]) == (409, "/problems/custody-holds-less")
    assert refused.json["held_fen"] == 3600
    assert accepted.status_code == 201
    assert ask("cash/custody")["items"][0]["held_fen"] == 3600 - 10_000


def test_two_remittances_at_once_do_not_take_the_same_cash(
    till: Any, an_entry: Builder, tell: Tell, ask: Ask, site_id: UUID, in_threads: InThreads
) -> None:
    till.upload(an_entry("sale", 1))
    body = {"site_id": str(site_id), "clerk": "卓嘎", **OUT[0][1]}

    answers = in_threads([lambda: tell("cash/remittances", **body) for _ in range(4)])

    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert ask("cash/custody")["items"][0]["held_fen"] == 3600


@pytest.mark.parametrize("amount", ["10", "1e3", "１０", 10.5, True, None, -1, 10**18])
def test_an_amount_is_a_whole_number_of_fen_and_nothing_else(
    till: Any, an_entry: Builder, tell: Tell, ask: Ask, site_id: UUID, amount: Any
) -> None:
    till.upload(an_entry("sale", 1))
    whose = {"site_id": str(site_id), "clerk": "卓嘎", "accept_shortage": True}

    sent = tell("cash/remittances", **whose, sent_fen=amount, counted_fen=1, reason="?")
    counted = tell("cash/remittances", **whose, sent_fen=1, counted_fen=amount, reason="?")
    given_up = tell("cash/write-offs", **whose, amount_fen=amount, reason="?")

    told = [answer.status_code for answer in (sent, counted, given_up)]
    # More than there should be is written off below 0.
    assert told == [422, 422, 201 if amount == -1 else 422]
    if amount != -1:
        assert ask("cash/custody")["items"][0]["held_fen"] == 13_600


@pytest.mark.parametrize("flag", [1, "true", "yes", "on", None, []])
def test_a_shortage_is_accepted_by_true_and_by_nothing_else(
    tell: Tell, ask: Ask, site_id: UUID, flag: Any
) -> None:
    body = {"site_id": str(site_id), "clerk": "卓嘎", **OUT[0][1]}

    answer = tell("cash/remittances", **body, accept_shortage=flag)

    assert answer.status_code == 422
    assert ask("cash/custody")["items"] == []


def test_two_counts_that_differ_need_a_reason(tell: Tell, ask: Ask, site_id: UUID) -> None:
    whose = {"site_id": str(site_id), "clerk": "卓嘎"}

    answer = tell("cash/remittances", **whose, sent_fen=100, counted_fen=99)

    assert (answer.status_code, answer.json["type"]) == (422, "/problems/reason-needed")
    assert ask("cash/custody")["items"] == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("cash/remittances", {"sent_fen": 1, "counted_fen": 1}),
        ("cash/write-offs", {"amount_fen": 1, "reason": "torn"}),
    ],
)
def test_no_cash_is_moved_at_a_site_that_does_not_exist(
    tell: Tell, path: str, body: dict[str, Any]
) -> None:
    answer = tell(path, site_id=str(new_id()), clerk="卓嘎", **body)

    assert (answer.status_code, answer.json["type"]) == (422, "/problems/unknown-site")


def test_two_tills_of_one_clerk_that_upload_at_once_miss_no_cash(
    enrol: Callable[..., Any], an_entry: Builder, ask: Ask, in_threads: InThreads
) -> None:
    tills = [enrol() for _ in range(4)]

    def uploads(till: Any) -> Callable[[], None]:
        def run() -> None:
            for number in range(1, 6):
                till.upload(an_entry("sale", number), an_entry("void", number + 100, of=number))

        return run

    in_threads([uploads(till) for till in tills])

    (custody,) = ask("cash/custody")["items"]
    assert custody["collected_fen"] == 4 * 5 * 13_600
    assert ask("verify")["differences"] == []


def test_custody_is_listed_by_site_and_by_clerk(till: Any, an_entry: Builder, ask: Ask) -> None:
    till.upload(an_entry("sale", 1), an_entry("sale", 2, clerk="扎西"))

    by_clerk = ask("cash/custody?clerk=扎西")["items"]
    elsewhere = ask(f"cash/custody?site_id={new_id()}")["items"]

    assert [each["clerk"] for each in by_clerk] == ["扎西"]
    assert elsewhere == []


def test_the_database_itself_refuses_a_custody_that_does_not_add_up(
    till: Any, an_entry: Builder, database: Database
) -> None:
    till.upload(an_entry("sale", 1))

    with pytest.raises(IntegrityError), database.sessions.begin() as session:
        session.scalars(select(Custody)).one().held_fen += 1


# --- Shifts --------------------------------------------------------------------------------------


def a_shift(an_entry: Builder) -> list[dict[str, Any]]:
    """Make a shift that ends with 1.00 yuan too little in the drawer."""
    return [
        an_entry("shift_open", 1),
        an_entry("sale", 2),
        an_entry("sale", 3, payment="mobile"),
        an_entry("return", 4, of=2),
        an_entry("shift_close", 5, counted_fen=20_000 + 6800 - 100, note="?"),
    ]


@pytest.mark.parametrize("turned", [False, True])
def test_a_shift_says_what_should_be_in_the_drawer_and_what_was_counted(
    till: Any, an_entry: Builder, ask: Ask, turned: bool
) -> None:
    """Its entries come in any order. Reported in odoo#125037, #284790."""
    entries = a_shift(an_entry)
    for entry in reversed(entries) if turned else entries:
        till.upload(entry)

    (shift,) = ask("cash/shifts")["items"]

    assert (shift["number"], shift["clerk"], shift["note"]) == (1, "卓嘎", "?")
    assert (shift["float_fen"], shift["counted_fen"]) == (20_000, 26_700)
    assert (shift["expected_fen"], shift["difference_fen"]) == (26_800, -100)
    assert (shift["missing"], shift["opened_at"]) == (0, "2026-11-25T08:30:00+00:00")


def test_a_shift_whose_entries_have_not_all_come_says_how_many_are_missing(
    till: Any, an_entry: Builder, ask: Ask
) -> None:
    opened, sale, _, _, closed = a_shift(an_entry)
    till.upload(closed)
    (without_opening,) = ask("cash/shifts")["items"]

    till.upload(opened, sale)

    (shift,) = ask("cash/shifts")["items"]
    assert (without_opening["expected_fen"], without_opening["missing"]) == (None, 4)
    assert (shift["expected_fen"], shift["missing"]) == (33_600, 2)


def test_of_two_closings_of_a_shift_the_first_counts(
    till: Any, an_entry: Builder, ask: Ask
) -> None:
    till.upload(an_entry("shift_close", 3, counted_fen=3), an_entry("shift_open", 1))
    till.upload(an_entry("shift_close", 2, counted_fen=2))

    (shift,) = ask("cash/shifts")["items"]
    assert shift["counted_fen"] == 2


@pytest.mark.parametrize(("query", "numbers"), [("", [3, 1]), ("closed=true", [1])])
def test_shifts_are_listed_the_last_first(
    till: Any, an_entry: Builder, ask: Ask, query: str, numbers: list[int]
) -> None:
    till.upload(an_entry("shift_open", 1), an_entry("shift_close", 2))
    till.upload(an_entry("shift_open", 3, shift=3))

    found = ask(f"cash/shifts?{query}")["items"]
    of_clerk = ask(f"cash/shifts?clerk=卓嘎&site_id={till.device.site_id}&closed=false")["items"]
    of_device = ask(f"cash/shifts?device_id={new_id()}")["items"]

    assert [shift["number"] for shift in found] == numbers
    assert [shift["number"] for shift in of_clerk] == [3]
    assert of_device == []


def test_of_two_tills_that_open_a_custody_at_once_no_other_key_than_its_id_refuses_one(
    database: Database,
) -> None:
    # PostgreSQL settles a conflict of the id, and refuses one of any other unique key: of some
    # thousand pairs at the same moment a few were refused, so the keys are looked at instead.
    found = inspect(database.engine)

    assert found.get_unique_constraints("custodies") == []
    assert [index for index in found.get_indexes("custodies") if index["unique"]] == []
