"""What stations' tills upload: each entry by itself, and once, whatever happens to the upload."""

import json
import random
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text

from services.orders.models import CashEntry, Order, TakenBack, TillEntry
from services.orders.rules import till as rules
from services.orders.use_cases import place
from services.orders.use_cases.upload import upload
from shared import clock
from shared.clock import rfc3339
from shared.database import Database
from shared.devices import REPLACED_SCOPES, Device
from shared.events import (
    AllotmentOverdrawn,
    DeviceKeyGiven,
    HandOverRefused,
    OverdraftSettled,
    PriceChanged,
    ProductWithdrawn,
)
from shared.ids import new_id

Builder = Callable[..., dict[str, Any]]
Deliver = Callable[..., list[UUID]]
Recorded = Callable[[], list[tuple[str, dict[str, Any]]]]
ReadEntry = Callable[[UUID], TillEntry]
Ask = Callable[[str], Any]
Token = Callable[..., dict[str, str]]
InThreads = Callable[..., list[Any]]
Answer = dict[str, Any]

pytestmark = pytest.mark.usefixtures("station_price")


class Till(Protocol):
    """A device that calls orders; see `conftest.py`."""

    device: Device
    headers: dict[str, str]

    def upload(self, *entries: Any) -> list[Answer]: ...
    def send(self, **changes: Any) -> Any: ...
    def attention(self) -> dict[str, Any]: ...
    def id_of(self, number: int) -> UUID: ...


Enrol = Callable[..., Till]


def words(answers: list[Answer]) -> list[str]:
    """Return each answer in few words: its status, and the reason if there is one."""
    return [" ".join(filter(None, (answer["status"], answer["reason"]))) for answer in answers]


def types_of(events: list[tuple[str, dict[str, Any]]]) -> list[str]:
    """Return the facts' names, without service and version."""
    return [type_.split(".")[1] for type_, _ in events]


# --- Once ----------------------------------------------------------------------------------------


def test_a_sale_is_accepted_kept_and_told(
    till: Till, an_entry: Builder, recorded_events: Recorded, read_entry: ReadEntry, ask: Ask
) -> None:
    sale = an_entry("sale", 1)

    (answer,) = till.upload(sale)

    assert answer == {"index": 0, "number": 1, "status": "accepted", "reason": None, "detail": None}
    kept = read_entry(till.id_of(1))
    assert (kept.status, kept.flags, kept.body) == ("accepted", [], sale)
    ((type_, told),) = recorded_events()
    assert type_ == "orders.station_sale_recorded.v1"
    line = sale["lines"][0]
    assert told == {
        "sale_id": str(till.id_of(1)),
        "kind": "sale",
        "device_id": str(till.device.device_id),
        "epoch": 1,
        "number": 1,
        "site_id": str(till.device.site_id),
        "of_sale_id": None,
        "lines": [
            {
                "line_no": 1,
                "variant_id": line["variant_id"],
                "lot_id": line["lot_id"],
                "quantity": 1000,
                "line_total_fen": 13_600,
                "restock": None,
            }
        ],
        "total_fen": 13_600,
        "payment": "cash",
        "device_time": "2026-11-25T08:30:00+00:00",
    }
    assert ask("cash/custody")["items"][0]["held_fen"] == 13_600


def test_a_sale_uploaded_again_after_a_time_out_is_one_sale(
    till: Till, an_entry: Builder, recorded_events: Recorded, ask: Ask
) -> None:
    """The answer was lost, the till sends all of it again, and more with it.

    Reported in BrainWise-DEV/POSNext#50, #97; odoo/odoo#152259; frappe/erpnext#11000, #11230.
    """
    till.upload(an_entry("sale", 1), an_entry("sale", 2))

    answers = till.upload(an_entry("sale", 1), an_entry("sale", 2), an_entry("sale", 3))

    assert words(answers) == ["duplicate", "duplicate", "accepted"]
    assert [told["number"] for _, told in recorded_events()] == [1, 2, 3]
    assert ask("cash/custody")["items"][0]["held_fen"] == 3 * 13_600


def test_an_entry_that_is_twice_in_one_upload_counts_once(
    till: Till, an_entry: Builder, recorded_events: Recorded
) -> None:
    answers = till.upload(an_entry("sale", 1), an_entry("sale", 1))

    assert words(answers) == ["accepted", "duplicate"]
    assert len(recorded_events()) == 1


def test_two_tabs_that_upload_at_once_make_each_sale_once(
    till: Till, an_entry: Builder, recorded_events: Recorded, in_threads: InThreads, ask: Ask
) -> None:
    """Reported in BrainWise-DEV/POSNext#50, #97; odoo/odoo#152259; itpp-labs/pos-addons#864."""
    entries = [an_entry("sale", number) for number in range(1, 21)]

    def tab(seed: int) -> Callable[[], list[Answer]]:
        mixed = random.Random(seed).sample(entries, len(entries))
        return lambda: till.upload(*mixed[:12]) + till.upload(*mixed[8:])

    answers = in_threads([tab(seed) for seed in range(4)])

    every = Counter(answer["status"] for tab_answers in answers for answer in tab_answers)
    assert every == {"accepted": 20, "duplicate": 4 * 24 - 20}
    assert sorted(told["number"] for _, told in recorded_events()) == list(range(1, 21))
    assert ask("cash/custody")["items"][0]["held_fen"] == 20 * 13_600


def test_an_upload_that_dies_before_its_commit_leaves_nothing_and_can_be_repeated(
    till: Till, an_entry: Builder, database: Database, recorded_events: Recorded
) -> None:
    entries = [rules.read_entry(an_entry("sale", number)) for number in (1, 2)]

    with pytest.raises(RuntimeError), database.sessions.begin() as session:
        upload(session, till.device, entries, place.Limits(900, 20))
        raise RuntimeError("the power went off")

    assert recorded_events() == []
    assert till.attention()["highest"] == 0
    assert words(till.upload(an_entry("sale", 1), an_entry("sale", 2))) == ["accepted"] * 2
    assert len(recorded_events()) == 2


def test_two_epochs_and_two_devices_may_use_the_same_number(
    enrol: Enrol, an_entry: Builder, recorded_events: Recorded
) -> None:
    """Names of two devices never collide, nor do those before and after a device was replaced.

    Reported in OCA/l10n-spain#4921.
    """
    first = enrol()
    replaced = enrol(first.device.device_id, epoch=2)
    other = enrol()

    answers = [each.upload(an_entry("sale", 1)) for each in (first, replaced, other)]

    assert [words(answer) for answer in answers] == [["accepted"]] * 3
    assert len({told["sale_id"] for _, told in recorded_events()}) == 3


def test_the_statements_of_an_upload_do_not_grow_with_its_sales(
    till: Till,
    an_entry: Builder,
    client: FlaskClient,
    count_statements: Callable[[], AbstractContextManager[list[str]]],
    database: Database,
) -> None:
    def needed(numbers: range) -> int:
        entries = [rules.read_entry(an_entry("sale", number)) for number in numbers]
        with count_statements() as statements, database.sessions.begin() as session:
            upload(session, till.device, entries, place.Limits(900, 20))
        return len(statements)

    few = needed(range(1, 3))

    assert needed(range(3, 303)) == few < 15


# --- Each by itself ------------------------------------------------------------------------------


def test_one_bad_entry_stops_none_of_the_others(
    till: Till, an_entry: Builder, recorded_events: Recorded
) -> None:
    """Reported in BrainWise-DEV/POSNext#50; odoo/odoo#152259; frappe/erpnext#11000, #11230."""
    bad = an_entry("sale", 2, payment="gold")

    answers = till.upload(an_entry("sale", 1), bad, None, {"kind": "sale"}, an_entry("sale", 3))

    assert words(answers) == [
        "accepted",
        "disputed unreadable",
        "refused no_number",
        "refused no_number",
        "accepted",
    ]
    assert [answer["number"] for answer in answers] == [1, 2, None, None, 3]
    assert "payment must be one of cash, mobile." in answers[1]["detail"]
    assert types_of(recorded_events()) == [
        "station_sale_recorded",
        "station_sale_disputed",
        "station_sale_recorded",
    ]


def test_what_is_unreadable_is_kept_as_it_came_but_for_what_concerns_a_buyer(
    till: Till, an_entry: Builder, read_entry: ReadEntry, recorded_events: Recorded
) -> None:
    order = an_entry("order", 1)
    order["order"]["lines"] = "all of it\x00"

    answers = till.upload(order)
    again = till.upload(order)

    assert words(answers) == ["disputed unreadable"]
    assert words(again) == ["duplicate unreadable"]
    kept = read_entry(till.id_of(1)).body
    assert kept["order"]["lines"] == "all of it"
    assert "卓玛" not in json.dumps(kept, ensure_ascii=False)
    assert "8000" not in json.dumps(kept)
    assert recorded_events() == []  # it is no sale


def test_other_content_under_a_known_name_is_kept_beside_it_and_disputed(
    till: Till, an_entry: Builder, recorded_events: Recorded, ask: Ask
) -> None:
    """A device restored from a backup sells again under numbers it has used."""
    till.upload(an_entry("sale", 1))
    second, third = an_entry("sale", 1, clerk="扎西"), an_entry("sale", 1, payment="mobile")

    answers = till.upload(second, an_entry("sale", 1), third, second)

    assert words(answers) == [
        "disputed other_content",
        "duplicate",
        "disputed other_content",
        "duplicate other_content",
    ]
    entries = ask("station-sales")["items"]
    assert [(entry["copy"], entry["status"]) for entry in entries] == [
        (3, "disputed"),
        (2, "disputed"),
        (1, "accepted"),
    ]
    assert len({entry["sale_id"] for entry in entries}) == 3
    _, disputed, other = recorded_events()
    assert disputed[0] == other[0] == "orders.station_sale_disputed.v1"
    assert disputed[1]["sale_id"] == entries[1]["sale_id"]
    assert disputed[1]["lines"][0]["quantity"] == 1000
    # Both buyers paid: the cash of both is there.
    held = {each["clerk"]: each["held_fen"] for each in ask("cash/custody")["items"]}
    assert held == {"卓嘎": 13_600, "扎西": 13_600}


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"format": 2}, 422),
        ({"entries": []}, 422),
        ({"entries": {}}, 422),
        ({"entries": [{}] * 501}, 422),
        ({"more": 1}, 422),
        ({"entries": [None] * 500}, 200),
    ],
)
def test_an_upload_itself_has_to_be_one(till: Till, changes: dict[str, Any], status: int) -> None:
    assert till.send(**changes).status_code == status


# --- Who may -------------------------------------------------------------------------------------


def test_the_key_of_a_replaced_epoch_still_brings_its_late_sales(
    enrol: Enrol, an_entry: Builder, client: FlaskClient
) -> None:
    old = enrol(scopes=REPLACED_SCOPES)

    assert words(old.upload(an_entry("sale", 1))) == ["accepted"]
    attention = client.get("/api/orders/v1/till/attention", headers=old.headers)
    assert attention.status_code == 403


def test_a_revoked_key_brings_nothing(
    till: Till, an_entry: Builder, deliver: Deliver, database: Database
) -> None:
    with database.readers() as reader:
        key_id, digest = reader.execute(text("SELECT id, digest FROM api_keys")).one()
    device = till.device
    deliver(
        DeviceKeyGiven,
        device_id=device.device_id,
        device_code=device.device_code,
        site_id=device.site_id,
        epoch=device.epoch,
        key_id=UUID(str(key_id)),
        digest=digest,
        scopes=[],
    )

    answer = till.send(entries=[an_entry("sale", 1)])

    assert (answer.status_code, answer.json["type"]) == (401, "/problems/invalid-token")
    assert answer.json["revoked"] is True


def test_a_person_uploads_nothing(client: FlaskClient, token: Token) -> None:
    body = {"format": 1, "entries": [{}]}
    headers = token("till:upload", "till")

    answer = client.post("/api/orders/v1/till/entries", json=body, headers=headers)

    assert (answer.status_code, answer.json["type"]) == (403, "/problems/not-a-device")


# --- Voids and returns ---------------------------------------------------------------------------


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
    max_examples=15,
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


# --- What catalog says of it ---------------------------------------------------------------------


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


# --- What is odd and no reason to dispute it -----------------------------------------------------


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


# --- Holes ---------------------------------------------------------------------------------------


def test_a_till_learns_what_has_not_come(till: Till, an_entry: Builder) -> None:
    nothing = till.attention()
    till.upload(an_entry("sale", 3), an_entry("sale", 300))

    told = till.attention()

    assert (nothing["highest"], nothing["holes"]) == (0, [])
    assert (told["device_id"], told["epoch"]) == (str(till.device.device_id), 1)
    assert told["highest"] == 300
    assert told["holes"] == [1, 2, *range(4, 102)]


# --- Parcels -------------------------------------------------------------------------------------


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


# --- Orders --------------------------------------------------------------------------------------


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
