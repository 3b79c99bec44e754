"""An operator sees what a service knows of a subject: published, handled, parked."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask.testing import FlaskClient
from msgspec.structs import fields

from shared.events import Fact, OrderCompleted, OrderPaid, ShipmentPacked
from shared.messaging import inbox, parked
from shared.messaging.envelope import Envelope
from shared.messaging.tables import Outbox
from shared.runtime import clock
from shared.runtime.database import Database
from shared.runtime.ids import new_id
from tests.support import probe

Headers = Callable[..., dict[str, str]]
V1 = "/api/things/v1/trace"


def an_event(contract: type[Fact], sequence: int = 1, **subject: UUID) -> Envelope:
    facts = {
        field.name: {
            "order_ref": "ORD-1",
            "amount_fen": 1,
            "total_fen": 1,
            "method": "prepaid",
        }.get(field.name, new_id())
        for field in fields(contract)
        if field.required
    } | subject
    return probe.event_of(contract, sequence, **facts)


def publish(database: Database, event: Envelope, position: int | None) -> None:
    with database.sessions.begin() as session:
        session.add(
            Outbox(
                event_id=event.event_id,
                type=event.type,
                subject=event.subject,
                sequence=event.sequence,
                body=event.body,
                correlation_id=event.correlation_id,
                recorded_at=event.time,
                position=position,
                published_at=clock.now() if position else None,
            )
        )


@pytest.fixture
def trace(client: FlaskClient, token: Headers) -> Callable[..., dict[str, Any]]:
    def ask(order_id: UUID, *subjects: str) -> dict[str, Any]:
        answer = client.get(
            f"{V1}/{order_id}", query_string={"subject": subjects}, headers=token("operate")
        )
        assert answer.status_code == 200, answer.text
        return dict(answer.json)

    return ask


def test_an_order_s_facts_are_told_in_their_order(
    database: Database, trace: Callable[..., dict[str, Any]]
) -> None:
    order_id = new_id()
    paid = an_event(OrderPaid, 1, order_id=order_id)
    done = an_event(OrderCompleted, 2, order_id=order_id)
    publish(database, paid, 1)
    publish(database, done, None)
    publish(database, an_event(OrderPaid), 2)
    taken = an_event(OrderPaid, 1, order_id=order_id)
    failed = an_event(OrderCompleted, 2, order_id=order_id)
    with database.sessions.begin() as session:
        inbox.take(session, [taken, failed])
        parked.park(session, failed, "handler_failed", "why", "waiting")

    told = trace(order_id)

    assert [fact["type"] for fact in told["published"]] == [
        "orders.order_paid.v1",
        "orders.order_completed.v1",
    ]
    assert [fact["position"] for fact in told["published"]] == [1, None]
    assert told["published"][0]["published_at"] is not None
    assert [fact["event_id"] for fact in told["handled"]] == [str(taken.event_id)]
    (waits,) = told["parked"]
    assert (waits["event_id"], waits["reason"], waits["error"], waits["attempts"]) == (
        str(failed.event_id),
        "handler_failed",
        "why",
        1,
    )


def test_other_subjects_are_told_when_they_are_asked_for(
    database: Database, trace: Callable[..., dict[str, Any]]
) -> None:
    packed = an_event(ShipmentPacked)
    publish(database, packed, 1)

    assert trace(uuid4())["published"] == []
    assert [fact["subject"] for fact in trace(uuid4(), packed.subject)["published"]] == [
        packed.subject
    ]


@pytest.mark.parametrize("query", ["subject=", "subject=%00", "subject=" + "x" * 301, "other=1"])
def test_a_subject_that_cannot_be_is_refused(
    client: FlaskClient, token: Headers, query: str
) -> None:
    assert client.get(f"{V1}/{uuid4()}?{query}", headers=token("operate")).status_code == 422
