"""Voids and returns at a station: once, in any order, and never more than was sold."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text

from services.orders.models import CashEntry, TakenBack, TillEntry
from shared.runtime.database import Database
from shared.runtime.ids import new_id
from tests.orders.reading import Recorded, types_of
from tests.orders.till.device import Enrol, Till, words
from tests.support.chance import examples

Builder = Callable[..., dict[str, Any]]
ReadEntry = Callable[[UUID], TillEntry]
Ask = Callable[[str], Any]
pytestmark = pytest.mark.usefixtures("station_price")


def test_a_void_takes_the_whole_sale_back(
    till: Till, an_entry: Builder, recorded_events: Recorded, ask: Ask
) -> None:
    answers = till.upload(an_entry("sale", 1), an_entry("void", 2, of=1))

    assert words(answers) == ["accepted", "accepted"]
    _, (type_, void) = recorded_events()
    assert type_ == "orders.station_sale_recorded.v1"
    assert (void["kind"], void["of_sale_id"]) == ("void", str(till.id_of(1)))
    assert (void["lines"][0]["quantity"], void["lines"][0]["restock"]) == (1000, True)
    (custody,) = ask("cash/custody")["items"]
    assert (custody["collected_fen"], custody["refunded_fen"]) == (13_600, 13_600)
    assert custody["held_fen"] == 0


def test_an_offline_return_or_void_counts_once(
    till: Till, an_entry: Builder, recorded_events: Recorded, ask: Ask
) -> None:
    """Uploaded again, or undone a second time under another number.

    Reported in OCA/pos#172; itpp-labs/pos-addons#864.
    """
    sale, half = an_entry("sale", 1), an_entry("return", 2, of=1)
    rest = an_entry("void", 3, of=1, refund_fen=6800)
    till.upload(sale, half, rest)

    again = till.upload(half, rest, sale)
    more = till.upload(an_entry("return", 4, of=1), an_entry("void", 5, of=1, refund_fen=0))

    assert words(again) == ["duplicate"] * 3
    assert words(more) == ["disputed beyond_sale"] * 2
    assert [(told["kind"], told["lines"][0]["quantity"]) for _, told in recorded_events()[:3]] == [
        ("sale", 1000),
        ("return", 500),
        ("void", 500),
    ]
    assert types_of(recorded_events()[3:]) == ["station_sale_disputed"] * 2
    assert ask("cash/custody")["items"][0]["held_fen"] == 0


def test_a_void_of_a_partly_returned_sale_gives_back_the_rest_only(
    till: Till, an_entry: Builder
) -> None:
    answers = till.upload(
        an_entry("sale", 1), an_entry("return", 2, of=1), an_entry("void", 3, of=1)
    )

    assert words(answers)[-1] == "disputed beyond_sale"
    assert answers[-1]["detail"] == (
        "A void gives back all that is left of the sale, 6800 fen, not 13600."
    )


def test_a_return_that_comes_before_its_sale_waits_for_it(
    till: Till, an_entry: Builder, recorded_events: Recorded, ask: Ask
) -> None:
    first = till.upload(an_entry("return", 2, of=1))

    assert words(first) == ["accepted"]
    assert (recorded_events(), ask("cash/custody")["items"]) == ([], [])
    till.upload(an_entry("sale", 1))

    assert [told["kind"] for _, told in recorded_events()] == ["sale", "return"]
    assert ask("cash/custody")["items"][0]["held_fen"] == 6800


def test_a_void_waits_for_what_may_have_come_back_before_it(
    till: Till, an_entry: Builder, read_entry: ReadEntry
) -> None:
    """Number 2 is not here: it may be a return, and then less is left for the void."""
    till.upload(an_entry("sale", 1), an_entry("void", 3, of=1, refund_fen=6800))
    waiting = read_entry(till.id_of(3)).status

    till.upload(an_entry("return", 2, of=1))

    assert waiting == "waiting"
    assert read_entry(till.id_of(3)).status == "accepted"


def test_a_sale_undone_before_it_was_sent_has_no_effect_and_neither_has_its_void(
    till: Till, an_entry: Builder, recorded_events: Recorded, ask: Ask
) -> None:
    answers = till.upload(
        an_entry("sale", 1, voided=True),
        an_entry("void", 2, of=1),
        an_entry("void", 3, of=1),
        an_entry("return", 4, of=1),
    )

    assert words(answers) == [
        "accepted",
        "accepted",
        "disputed beyond_sale",
        "disputed beyond_sale",
    ]
    assert types_of(recorded_events()) == ["station_sale_disputed"] * 2
    assert ask("cash/custody")["items"] == []


def test_what_is_no_sale_cannot_be_undone(till: Till, an_entry: Builder) -> None:
    answers = till.upload(
        an_entry("shift_open", 1),
        an_entry("void", 2, of=1),
        an_entry("sale", 3, lines="?"),
        an_entry("return", 4, of=3),
    )

    assert words(answers)[1] == words(answers)[3] == "disputed beyond_sale"


def test_an_upload_goes_on_where_rows_were_lost(
    till: Till, an_entry: Builder, database: Database, read_entry: ReadEntry, ask: Ask
) -> None:
    till.upload(an_entry("shift_open", 1), an_entry("sale", 2, payment="mobile"))
    with database.sessions.begin() as session:
        session.execute(text("DELETE FROM till_entries WHERE number = 2"))

    answers = till.upload(an_entry("void", 3, of=2), an_entry("sale", 4))

    assert words(answers) == ["accepted", "accepted"]
    assert read_entry(till.id_of(3)).status == "waiting"
    assert [difference["check"] for difference in ask("verify")["differences"]] == ["journal"]


def test_what_was_taken_back_is_never_more_than_was_sold_in_the_database_itself(
    till: Till, an_entry: Builder, database: Database
) -> None:
    till.upload(an_entry("sale", 1), an_entry("return", 2, of=1))

    with (
        pytest.raises(Exception, match="ck_taken_back_taken"),
        database.sessions.begin() as session,
    ):
        session.scalars(select(TakenBack)).one().taken = 1001


@settings(
    max_examples=examples(15),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_journal_uploaded_in_any_order_in_pieces_and_repeatedly_ends_the_same(
    enrol: Enrol, an_entry: Builder, recorded_events: Recorded, database: Database, data: Any
) -> None:
    """Reported in POSNext#50, #97; OCA/pos#172; odoo#60939."""
    clerk = f"clerk {new_id()}"
    journal = [
        an_entry(kind, number, clerk=clerk, **changes)
        for number, (kind, changes) in enumerate(_JOURNAL, start=1)
    ]

    def end(till: Till) -> Any:
        said = {"device_id": str(till.device.device_id)}
        events = Counter(
            json.dumps([type_, told.get("kind"), told.get("number"), told.get("lines")])
            for type_, told in recorded_events()
            if said.items() <= told.items()
        )
        with database.readers() as reader:
            entries = reader.scalars(
                select(TillEntry)
                .where(TillEntry.device_id == till.device.device_id)
                .order_by(TillEntry.number)
            )
            kept = [(e.number, e.status, e.reason, e.voided, e.taken, e.flags) for e in entries]
            of_device = CashEntry.device_id == till.device.device_id
            cash = reader.scalar(select(func.sum(CashEntry.amount_fen)).where(of_device))
        return kept, cash, events, till.attention()["holes"]

    in_order, mixed = enrol(), enrol()
    in_order.upload(*journal)
    sent = data.draw(st.permutations(journal)) + data.draw(st.lists(st.sampled_from(journal)))
    while sent:
        size = data.draw(st.integers(1, len(sent)))
        mixed.upload(*sent[:size])
        sent = sent[size:]

    assert end(mixed) == end(in_order)


#: A journal in which sales are undone, in part and altogether, rightly and wrongly.
_JOURNAL: list[tuple[str, dict[str, Any]]] = [
    ("shift_open", {}),
    ("sale", {}),
    ("sale", {"payment": "mobile"}),
    ("return", {"of": 2}),
    ("void", {"of": 3}),
    ("void", {"of": 2}),  # not what is left: 6800
    ("void", {"of": 2, "refund_fen": 6800}),
    ("return", {"of": 2}),  # nothing is left
    ("sale", {"voided": True}),
    ("void", {"of": 9}),
    ("sale", {"total_fen": 13_000}),
    ("void", {"of": 11, "refund_fen": 13_000}),
    ("hand_over", {}),
    ("sale", {"payment": "gold"}),
    ("void", {"of": 14}),
    ("shift_close", {}),
]
