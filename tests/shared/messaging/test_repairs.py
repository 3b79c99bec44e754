"""An operator looks at parked events, lets them be tried again, mends them, or gives them up."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, update

from shared.events import ContactGiven, OrderPaid
from shared.messaging import parked
from shared.messaging.envelope import LARGEST, Envelope, Event, decode, with_data
from shared.messaging.processing import Processor
from shared.messaging.tables import Parked
from shared.runtime import clock
from shared.runtime.database import Database
from tests.support import probe

Headers = Callable[..., dict[str, str]]
Post = Callable[..., Any]
V1 = "/api/things/v1/parked"


def paid(order_id: UUID, sequence: int, amount_fen: int = 1) -> Envelope:
    facts = {"order_ref": "ORD-1", "amount_fen": amount_fen, "method": "prepaid"}
    return probe.event_of(OrderPaid, sequence, order_id=order_id, **facts)


def never_unavailable(seconds: float) -> None:
    raise AssertionError("the database is away")


@pytest.fixture
def processor(database: Database) -> Iterator[Processor]:
    """The probe's handlers on the database of the service of things."""
    probe.create_tables(database)
    probe.MENDED.clear()
    yield Processor(probe.SERVICE, database)
    probe.MENDED.clear()


@pytest.fixture
def post(client: FlaskClient, token: Headers) -> Post:
    def call(path: str, body: Any = None, status: int = 200) -> Any:
        answer = client.post(V1 + path, json=body or {}, headers=token("operate"))
        assert answer.status_code == status, answer.text
        return answer.json

    return call


@pytest.fixture
def get(client: FlaskClient, token: Headers) -> Callable[[str], Any]:
    def call(path: str) -> Any:
        answer = client.get(V1 + path, headers=token("operate"))
        assert answer.status_code == 200, answer.text
        return answer.json

    return call


def retry_all(processor: Processor) -> None:
    while processor.retry_parked():
        pass


def make_dead(database: Database) -> None:
    """Let the first of each subject have used up its attempts."""
    with database.sessions.begin() as session:
        dead = {"state": "dead", "attempts": parked.ATTEMPTS, "next_attempt_at": None}
        session.execute(update(Parked).where(Parked.state == "waiting").values(**dead))


def a_stuck_order(processor: Processor) -> list[Envelope]:
    order_id = uuid4()
    events = [paid(order_id, 1, probe.FAILS), paid(order_id, 2), paid(order_id, 3)]
    processor.process(events, never_unavailable)
    make_dead(processor.database)
    return events


def a_contact() -> Envelope:
    return probe.event_of(
        ContactGiven,
        order_id=uuid4(),
        order_ref="ORD-1",
        buyer_id=None,
        name="卓玛",
        phone="+8613800138000",
        address=None,
        language="bo",
    )


def test_what_is_parked_is_listed_in_its_order_and_by_error(
    processor: Processor, get: Callable[[str], Any]
) -> None:
    first, second = a_stuck_order(processor), a_stuck_order(processor)

    rows = get("")["items"]
    assert [row["event_id"] for row in rows] == [str(e.event_id) for e in first + second]
    assert [row["state"] for row in rows] == ["dead", "behind", "behind"] * 2
    (group,) = get("/groups")["groups"]
    assert group["count"] == 2
    assert group["reason"] == "handler_failed"
    assert "this amount cannot be handled" in group["error"]
    assert group["oldest"] == rows[0]["first_failed_at"]
    assert [row["event_id"] for row in get("?state=dead")["items"]] == [
        str(first[0].event_id),
        str(second[0].event_id),
    ]
    assert get(f"?subject={first[0].subject}&state=behind&limit=1")["next"] is not None


def test_nothing_parked_is_an_empty_list(processor: Processor, get: Callable[[str], Any]) -> None:
    assert get("") == {"items": [], "next": None}
    assert get("/groups") == {"groups": []}
    assert get("/actions") == {"items": [], "next": None}


def test_a_replay_after_the_fix_gives_the_state_in_order(
    processor: Processor, post: Post, get: Callable[[str], Any]
) -> None:
    events = a_stuck_order(processor)
    retry_all(processor)
    assert probe.effects(processor.database) == []

    probe.MENDED.add("mended")
    shown = post(f"/{events[0].event_id}/replay", {"why": "fixed in 1.2"})
    assert (shown["state"], shown["attempts"]) == ("waiting", 0)
    retry_all(processor)

    assert [effect.sequence for effect in probe.effects(processor.database)] == [1, 2, 3]
    assert get("")["items"] == []
    (action,) = get("/actions")["items"]
    told = {name: action[name] for name in ("event_id", "action", "actor", "why", "attempts")}
    assert told == {
        "event_id": str(events[0].event_id),
        "action": "replay",
        "actor": "operator",
        "why": "fixed in 1.2",
        "attempts": parked.ATTEMPTS,
    }


def test_a_replay_without_a_fix_is_parked_again_with_all_its_attempts(
    processor: Processor, post: Post, get: Callable[[str], Any]
) -> None:
    events = a_stuck_order(processor)
    post(f"/{events[0].event_id}/replay")
    retry_all(processor)

    assert probe.effects(processor.database) == []
    rows = get("")["items"]
    assert [(row["state"], row["attempts"]) for row in rows] == [
        ("waiting", 1),
        ("behind", 0),
        ("behind", 0),
    ]


def test_all_that_failed_alike_are_replayed_at_once(
    processor: Processor, post: Post, get: Callable[[str], Any]
) -> None:
    for _ in range(3):
        a_stuck_order(processor)
    probe.MENDED.add("mended")

    assert post("/replay", {"reason": "invalid"}) == {"replayed": 0}
    assert post("/replay", {"type": "orders.order_paid.v1", "why": "fixed"}) == {"replayed": 3}
    retry_all(processor)

    assert len(probe.effects(processor.database)) == 9
    assert len(get("/actions")["items"]) == 3


def test_what_waits_behind_another_is_not_tried_before_it(processor: Processor, post: Post) -> None:
    events = a_stuck_order(processor)
    problem = post(f"/{events[1].event_id}/replay", status=409)
    assert problem["type"].endswith("/waits-behind-another")
    assert problem["first"] == str(events[0].event_id)


def mended(event: Envelope, **changes: Any) -> dict[str, Any]:
    """Return the data of an event with some of them changed, as JSON has them."""
    return {**json.loads(event.body)["data"], **changes}


def by_hand(processor: Processor) -> list[int]:
    """Let what is due be handled; return the amounts that took effect, in order."""
    retry_all(processor)
    return [effect.amount_fen for effect in probe.effects(processor.database)]


@pytest.mark.parametrize("way", ["data", "changes"])
def test_an_edited_event_takes_effect_once_in_its_place_with_those_behind_it(
    processor: Processor, post: Post, get: Callable[[str], Any], way: str
) -> None:
    events = a_stuck_order(processor)
    change = {"amount_fen": 5}
    given = {"data": mended(events[0], **change)} if way == "data" else {"changes": change}

    shown = post(f"/{events[0].event_id}/edit", {"why": "a typing error", **given})

    assert (shown["state"], shown["attempts"]) == ("waiting", 0)
    assert by_hand(processor) == [5, 1, 1]
    processor.process(events, never_unavailable)  # the broker brings copies, as they were published
    assert [effect.sequence for effect in probe.effects(processor.database)] == [1, 2, 3]
    assert get("")["items"] == []


def test_an_edit_is_kept_with_who_when_why_and_the_data_before_and_after(
    processor: Processor, post: Post, get: Callable[[str], Any]
) -> None:
    events = a_stuck_order(processor)
    post(f"/{events[0].event_id}/edit", {"why": "a typing error", "changes": {"amount_fen": 5}})
    post(f"/{events[1].event_id}/discard", {"why": "not wanted"})

    discarded, edited = get("/actions")["items"]

    told = {name: edited[name] for name in ("event_id", "action", "actor", "why", "reason")}
    assert told == {
        "event_id": str(events[0].event_id),
        "action": "edit",
        "actor": "operator",
        "why": "a typing error",
        "reason": "handler_failed",
    }
    assert edited["before"] == mended(events[0])
    assert edited["after"] == mended(events[0], amount_fen=5)
    assert edited["done_at"] is not None
    assert (discarded["before"], discarded["after"]) == (None, None)


def test_an_edit_that_the_contract_does_not_allow_is_refused_by_field_and_changes_nothing(
    processor: Processor, post: Post, get: Callable[[str], Any]
) -> None:
    events = a_stuck_order(processor)
    path = f"/{events[0].event_id}"
    before = get("")["items"]
    without = {name: value for name, value in mended(events[0]).items() if name != "amount_fen"}

    for given, errors in (
        ({"changes": {"amount_fen": -1}}, {"amount_fen"}),
        ({"changes": {"amount_fen": "many", "method": "barter"}}, {"amount_fen", "method"}),
        ({"data": without}, {"amount_fen"}),
        ({"data": mended(events[0], amuont_fen=5)}, {"amuont_fen"}),
        ({"changes": {"lines.0.quantity": 5}}, {"lines.0.quantity"}),
        ({"changes": {"amount_fen.inside": 5}}, {"amount_fen.inside"}),
        ({"changes": {"order_id": str(uuid4())}}, {"order_id"}),
        ({"changes": {"remark": "x" * LARGEST}}, {"data"}),
    ):
        problem = post(f"{path}/edit", {"why": "x", **given}, status=422)
        assert problem["type"].endswith("/edit-refused")
        assert problem["errors"].keys() == errors

    assert get("")["items"] == before
    assert get(path)["payload"] == mended(events[0])
    assert get("/actions")["items"] == []


def test_an_edit_says_why_and_what(
    processor: Processor, post: Post, client: FlaskClient, token: Headers
) -> None:
    path = f"/{a_stuck_order(processor)[0].event_id}/edit"
    for body in (
        {"changes": {"amount_fen": 5}},
        {"why": "x"},
        {"why": "x", "changes": {}},
        {"why": "x", "changes": {"amount_fen": 5}, "data": {}},
    ):
        assert post(path, body, status=422)["type"].endswith("/validation-failed")
    body = {"why": "x", "changes": {"amount_fen": 5}}
    answer = client.post(V1 + path, json=body, headers=token("things:write"))
    assert answer.status_code == 403


def test_one_that_waits_behind_is_edited_and_keeps_its_place(
    processor: Processor, post: Post
) -> None:
    events = a_stuck_order(processor)
    probe.MENDED.add("mended")

    shown = post(f"/{events[1].event_id}/edit", {"why": "x", "changes": {"amount_fen": 5}})

    assert (shown["state"], shown["next_attempt_at"]) == ("behind", None)
    assert by_hand(processor) == []
    post(f"/{events[0].event_id}/replay")
    assert by_hand(processor) == [probe.FAILS, 5, 1]


def test_an_event_that_came_with_too_little_is_completed(
    processor: Processor, post: Post, get: Callable[[str], Any]
) -> None:
    event = paid(uuid4(), 1)
    poor = {"order_id": str(event.data["order_id"]), "from_a_newer_one": {"kept": 1}}
    processor.process([with_data(event, poor)], never_unavailable)
    rest = {"order_ref": "ORD-1", "amount_fen": 7, "method": "prepaid"}

    post(f"/{event.event_id}/edit", {"why": "told by telephone", "changes": rest})

    assert get(f"/{event.event_id}")["payload"] == poor | rest | {"from_a_newer_one": "…"}
    assert by_hand(processor) == [7]


def test_what_an_edit_cannot_check_or_reach_is_left_alone(
    processor: Processor, database: Database, post: Post
) -> None:
    body = {"why": "x", "changes": {"amount_fen": 5}}
    problem = post(f"/{uuid4()}/edit", body, status=404)
    assert problem["type"].endswith("/parked-event-not-found")

    newer = dataclasses.replace(paid(uuid4(), 1), type="orders.order_paid.v2")
    processor.process([newer], never_unavailable)
    assert post(f"/{newer.event_id}/edit", body, status=409)["type"].endswith("/unknown-contract")

    no_event = dataclasses.replace(paid(uuid4(), 1), body=b"\x00")
    processor.park_unreadable(no_event, "no JSON", never_unavailable)
    assert post(f"/{no_event.event_id}/edit", body, status=409)["type"].endswith("/no-event")

    held = a_stuck_order(processor)[0]
    with database.sessions.begin() as session:
        session.execute(
            update(Parked).where(Parked.event_id == held.event_id).values(state="suspect")
        )
    assert post(f"/{held.event_id}/edit", body, status=409)["type"].endswith("/being-handled")


def test_an_edit_of_contact_data_is_kept_without_them(
    processor: Processor, database: Database, post: Post, get: Callable[[str], Any]
) -> None:
    contact = a_contact()
    with database.sessions.begin() as session:
        parked.park(session, contact, "handler_failed", "x", "dead")

    path = f"/{contact.event_id}/edit"
    post(path, {"why": "a digit too many", "changes": {"phone": "+8613800138001"}})

    (action,) = get("/actions")["items"]
    assert set(action["before"].values()) == {"…"}
    assert {name for name, value in action["after"].items() if value != "…"} == {"phone"}
    assert action["after"]["phone"] == "… (changed)"
    with database.readers() as session:
        row = session.get(Parked, contact.event_id)
        assert row is not None
        assert decode(row.body).data["phone"] == "+8613800138001"


def test_of_an_edit_whose_event_the_broker_brings_again_only_the_edited_one_counts(
    processor: Processor, database: Database, post: Post
) -> None:
    event = paid(uuid4(), 1, probe.FAILS)
    with database.sessions.begin() as session:  # as a suspect, which is in no inbox yet
        parked.park(session, event, "handler_failed", "x", "waiting")
    probe.MENDED.add("mended")

    post(f"/{event.event_id}/edit", {"why": "x", "changes": {"amount_fen": 5}})
    processor.process([event], never_unavailable)
    processor.process_suspects([event], never_unavailable)

    assert by_hand(processor) == [5]


def test_a_discarded_event_never_takes_effect_and_those_behind_it_go_on(
    processor: Processor, post: Post, get: Callable[[str], Any]
) -> None:
    events = a_stuck_order(processor)
    probe.MENDED.add("mended")
    post(f"/{events[0].event_id}/discard", {"why": "paid twice, by telephone"})
    retry_all(processor)
    processor.process(events, never_unavailable)  # the broker brings copies

    assert [effect.sequence for effect in probe.effects(processor.database)] == [2, 3]
    (action,) = get("/actions")["items"]
    assert (action["action"], action["why"]) == ("discard", "paid twice, by telephone")


def test_one_that_waits_behind_can_be_discarded(processor: Processor, post: Post) -> None:
    events = a_stuck_order(processor)
    probe.MENDED.add("mended")
    post(f"/{events[1].event_id}/discard", {"why": "not wanted"})
    post(f"/{events[0].event_id}/replay")
    retry_all(processor)

    assert [effect.sequence for effect in probe.effects(processor.database)] == [1, 3]


def test_a_discard_needs_a_reason_and_an_operator(
    processor: Processor, post: Post, client: FlaskClient, token: Headers
) -> None:
    events = a_stuck_order(processor)
    post(f"/{events[0].event_id}/discard", {}, status=422)
    path = f"{V1}/{events[0].event_id}/discard"
    answer = client.post(path, json={"why": "x"}, headers=token("things:write"))
    assert answer.status_code == 403


def test_what_is_in_hand_or_gone_is_not_touched(
    processor: Processor, database: Database, post: Post
) -> None:
    events = a_stuck_order(processor)
    with database.sessions.begin() as session:
        row = session.scalars(select(Parked).where(Parked.state == "dead")).one()
        row.state, row.next_attempt_at = "suspect", clock.now()
    for deed in ("replay", "discard"):
        problem = post(f"/{events[0].event_id}/{deed}", {"why": "x"}, status=409)
        assert problem["type"].endswith("/being-handled")
        problem = post(f"/{uuid4()}/{deed}", {"why": "x"}, status=404)
        assert problem["type"].endswith("/parked-event-not-found")


def test_what_is_no_event_can_only_be_discarded(
    processor: Processor, post: Post, get: Callable[[str], Any]
) -> None:
    event = paid(uuid4(), 1)
    broken = Event(
        **{name: getattr(event, name) for name in event.__slots__ if name != "body"}, body=b"\x00"
    )
    processor.park_unreadable(broken, "no JSON", never_unavailable)
    path = f"/{broken.event_id}"

    assert get(path)["payload"] is None
    assert post(f"{path}/replay", status=409)["type"].endswith("/no-event")
    assert post("/replay", {}) == {"replayed": 0}
    post(f"{path}/discard", {"why": "somebody tried something"})
    assert get("")["items"] == []


def test_a_payload_is_shown_without_personal_data(
    processor: Processor, database: Database, get: Callable[[str], Any]
) -> None:
    events = a_stuck_order(processor)
    shown = get(f"/{events[0].event_id}")
    assert shown["payload"]["amount_fen"] == probe.FAILS
    assert shown["behind"] == 2

    contact = a_contact()
    with database.sessions.begin() as session:
        parked.park(session, contact, "handler_failed", "x", "dead")
    shown = get(f"/{contact.event_id}")
    assert set(shown["payload"].values()) == {"…"}
