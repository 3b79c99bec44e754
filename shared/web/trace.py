"""The audit trail of some subjects in one service, for operators: its events and their states."""

from collections.abc import Sequence
from typing import Any

from marshmallow import fields, validate
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.messaging.tables import Inbox, Outbox, Parked
from shared.runtime.schemas import RequestSchema, ResponseSchema

#: Events of each kind at most; an order has some dozens, another subject may have many.
MOST = 500


class TraceRequest(RequestSchema):
    """The subjects to show besides the order itself."""

    subject = fields.List(
        fields.String(validate=validate.Length(min=1, max=300)),
        load_default=list,
        validate=validate.Length(max=50),
        metadata={"description": "A subject such as `shipment/0198…`; may be repeated."},
    )


class WaitingForResponse(ResponseSchema):
    """A step that an order waits for."""

    what = fields.String(required=True)
    since = fields.AwareDateTime(required=True, allow_none=True)


class PublishedResponse(ResponseSchema):
    """An event that this service recorded; it is published when it has a position."""

    event_id = fields.UUID(required=True)
    type = fields.String(required=True)
    subject = fields.String(required=True)
    sequence = fields.Integer(required=True)
    correlation_id = fields.String(required=True)
    recorded_at = fields.AwareDateTime(required=True)
    published_at = fields.AwareDateTime(required=True, allow_none=True)
    position = fields.Integer(required=True, allow_none=True)


class HandledResponse(ResponseSchema):
    """Another service's event that this service has handled."""

    event_id = fields.UUID(required=True)
    type = fields.String(required=True)
    subject = fields.String(required=True)
    sequence = fields.Integer(required=True)
    recorded_at = fields.AwareDateTime(required=True)
    handled_at = fields.AwareDateTime(required=True)


class ParkedResponse(ResponseSchema):
    """An event that could not take effect in this service yet."""

    event_id = fields.UUID(required=True)
    type = fields.String(required=True)
    subject = fields.String(required=True)
    state = fields.String(required=True)
    reason = fields.String(required=True)
    error = fields.String(required=True, allow_none=True)
    attempts = fields.Integer(required=True)
    first_failed_at = fields.AwareDateTime(required=True)
    next_attempt_at = fields.AwareDateTime(required=True, allow_none=True)


class TraceResponse(ResponseSchema):
    """An order in one service: its state, the steps that it waits for, and its events."""

    service = fields.String(required=True)
    state = fields.Dict(keys=fields.String(), required=True)
    waiting_for = fields.List(fields.Nested(WaitingForResponse), required=True)
    published = fields.List(fields.Nested(PublishedResponse), required=True)
    handled = fields.List(fields.Nested(HandledResponse), required=True)
    parked = fields.List(fields.Nested(ParkedResponse), required=True)


def facts(session: Session, subjects: Sequence[str]) -> dict[str, Any]:
    """Return the events of `subjects` as `published`, `handled` and `parked`, each in its order.

    A parked event is not among the handled ones, although the inbox contains it.
    """
    wanted = sorted(set(subjects))
    published = session.scalars(
        select(Outbox).where(Outbox.subject.in_(wanted)).order_by(Outbox.id).limit(MOST)
    ).all()
    parked = session.scalars(
        select(Parked).where(Parked.subject.in_(wanted)).order_by(Parked.arrival).limit(MOST)
    ).all()
    parked_ids = {row.event_id for row in parked}
    handled = session.scalars(
        select(Inbox)
        .where(Inbox.subject.in_(wanted))
        .order_by(Inbox.handled_at, Inbox.event_id)
        .limit(MOST)
    ).all()
    return {
        "published": published,
        "handled": [row for row in handled if row.event_id not in parked_ids],
        "parked": parked,
    }
