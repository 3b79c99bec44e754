"""An operator looks at parked events, lets them be tried again, or gives them up."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, update

from shared import clock, parked
from shared.database import Database
from shared.envelope import Envelope
from shared.events import ContactGiven, OrderPaid
from shared.handling import Handling
from shared.tables import Parked
from shared.testing import probe

Headers = Callable[..., dict[str, str]]
Post = Callable[..., Any]
V1 = "/api/things/v1/parked"


def paid(order_id: UUID, sequence: int, amount_fen: int = 1) -> Envelope:
    facts = {"order_ref": "ORD-1", "amount_fen": amount_fen, "method": "prepaid"}
    return probe.event_of(OrderPaid, sequence, order_id=order_id, **facts)


def never_away(seconds: float) -> None:
    raise AssertionError("the database is away")


@pytest.fixture
def handling(database: Database) -> Iterator[Handling]:
    """The probe's handlers on the database of the service of things."""
    probe.create_tables(database)
    probe.MENDED.clear()
    yield Handling(probe.SERVICE, database)
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


def retry_all(handling: Handling) -> None:
    while handling.retry_parked():
        pass


def make_dead(database: Database) -> None:
    """Let the first of each subject have used up its attempts."""
    with database.sessions.begin() as session:
        dead = {"state": "dead", "attempts": parked.ATTEMPTS, "next_attempt_at": None}
        session.execute(update(Parked).where(Parked.state == "waiting").values(**dead))


def a_stuck_order(handling: Handling) -> list[Envelope]:
    order_id = uuid4()
    events = [paid(order_id, 1, probe.FAILS), paid(order_id, 2), paid(order_id, 3)]
    handling.settle(events, never_away)
    make_dead(handling.database)
    return events


def test_what_is_parked_is_listed_in_its_order_and_by_error(
    handling: Handling, get: Callable[[str], Any]
) -> None:
    first, second = a_stuck_order(handling), a_stuck_order(handling)

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


def test_nothing_parked_is_an_empty_list(handling: Handling, get: Callable[[str], Any]) -> None:
    assert get("") == {"items": [], "next": None}
    assert get("/groups") == {"groups": []}
    assert get("/actions") == {"items": [], "next": None}


def test_a_replay_after_the_fix_gives_the_state_in_order(
    handling: Handling, post: Post, get: Callable[[str], Any]
) -> None:
    events = a_stuck_order(handling)
    retry_all(handling)
    assert probe.effects(handling.database) == []

    probe.MENDED.add("mended")
    shown = post(f"/{events[0].event_id}/replay", {"why": "fixed in 1.2"})
    assert (shown["state"], shown["attempts"]) == ("waiting", 0)
    retry_all(handling)

    assert [effect.sequence for effect in probe.effects(handling.database)] == [1, 2, 3]
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
    handling: Handling, post: Post, get: Callable[[str], Any]
) -> None:
    events = a_stuck_order(handling)
    post(f"/{events[0].event_id}/replay")
    retry_all(handling)

    assert probe.effects(handling.database) == []
    rows = get("")["items"]
    assert [(row["state"], row["attempts"]) for row in rows] == [
        ("waiting", 1),
        ("behind", 0),
        ("behind", 0),
    ]


def test_all_that_failed_alike_are_replayed_at_once(
    handling: Handling, post: Post, get: Callable[[str], Any]
) -> None:
    for _ in range(3):
        a_stuck_order(handling)
    probe.MENDED.add("mended")

    assert post("/replay", {"reason": "invalid"}) == {"replayed": 0}
    assert post("/replay", {"type": "orders.order_paid.v1", "why": "fixed"}) == {"replayed": 3}
    retry_all(handling)

    assert len(probe.effects(handling.database)) == 9
    assert len(get("/actions")["items"]) == 3


def test_what_waits_behind_another_is_not_tried_before_it(handling: Handling, post: Post) -> None:
    events = a_stuck_order(handling)
    problem = post(f"/{events[1].event_id}/replay", status=409)
    assert problem["type"].endswith("/waits-behind-another")
    assert problem["first"] == str(events[0].event_id)


def test_a_discarded_event_never_takes_effect_and_those_behind_it_go_on(
    handling: Handling, post: Post, get: Callable[[str], Any]
) -> None:
    events = a_stuck_order(handling)
    probe.MENDED.add("mended")
    post(f"/{events[0].event_id}/discard", {"why": "paid twice, by telephone"})
    retry_all(handling)
    handling.settle(events, never_away)  # the broker brings copies

    assert [effect.sequence for effect in probe.effects(handling.database)] == [2, 3]
    (action,) = get("/actions")["items"]
    assert (action["action"], action["why"]) == ("discard", "paid twice, by telephone")


def test_one_that_waits_behind_can_be_discarded(handling: Handling, post: Post) -> None:
    events = a_stuck_order(handling)
    probe.MENDED.add("mended")
    post(f"/{events[1].event_id}/discard", {"why": "not wanted"})
    post(f"/{events[0].event_id}/replay")
    retry_all(handling)

    assert [effect.sequence for effect in probe.effects(handling.database)] == [1, 3]


def test_a_discard_needs_a_reason_and_an_operator(
    handling: Handling, post: Post, client: FlaskClient, token: Headers
) -> None:
    events = a_stuck_order(handling)
    post(f"/{events[0].event_id}/discard", {}, status=422)
    path = f"{V1}/{events[0].event_id}/discard"
    answer = client.post(path, json={"why": "x"}, headers=token("things:write"))
    assert answer.status_code == 403


def test_what_is_in_hand_or_gone_is_not_touched(
    handling: Handling, database: Database, post: Post
) -> None:
    events = a_stuck_order(handling)
    with database.sessions.begin() as session:
        row = session.scalars(select(Parked).where(Parked.state == "dead")).one()
        row.state, row.next_attempt_at = "suspect", clock.now()
    for deed in ("replay", "discard"):
        problem = post(f"/{events[0].event_id}/{deed}", {"why": "x"}, status=409)
        assert problem["type"].endswith("/being-handled")
        problem = post(f"/{uuid4()}/{deed}", {"why": "x"}, status=404)
        assert problem["type"].endswith("/parked-event-not-found")


def test_what_is_no_event_can_only_be_discarded(
    handling: Handling, post: Post, get: Callable[[str], Any]
) -> None:
    event = paid(uuid4(), 1)
    broken = Envelope(
        **{name: getattr(event, name) for name in event.__slots__ if name != "body"}, body=b"\x00"
    )
    handling.park_unreadable(broken, "no JSON", never_away)
    path = f"/{broken.event_id}"

    assert get(path)["payload"] is None
    assert post(f"{path}/replay", status=409)["type"].endswith("/no-event")
    assert post("/replay", {}) == {"replayed": 0}
    post(f"{path}/discard", {"why": "somebody tried something"})
    assert get("")["items"] == []


def test_a_payload_is_shown_without_personal_data(
    handling: Handling, database: Database, get: Callable[[str], Any]
) -> None:
    events = a_stuck_order(handling)
    shown = get(f"/{events[0].event_id}")
    assert shown["payload"]["amount_fen"] == probe.FAILS
    assert shown["behind"] == 2

    contact = probe.event_of(
        ContactGiven,
        order_id=uuid4(),
        order_ref="ORD-1",
        buyer_id=None,
        name="卓玛",
        phone="+8613800138000",
        address=None,
        language="bo",
    )
    with database.sessions.begin() as session:
        parked.park(session, contact, "handler_failed", "x", "dead")
    shown = get(f"/{contact.event_id}")
    assert set(shown["payload"].values()) == {"…"}
