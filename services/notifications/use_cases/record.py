"""Record what came of handing messages to their channels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from services.notifications.models import Attempt, Message
from services.notifications.rules import Result, Verdict, after_attempt, become
from services.notifications.use_cases.outgoing import Outgoing
from shared import clock, outbox, tracing
from shared.events import MessageFailed, MessageSent


@dataclass
class Told:
    """What the events recorded of a message need to know of it."""

    message_id: UUID
    template: str
    cause_id: UUID
    correlation_id: str
    version: int
    traceparent: str | None = None


def record_attempts(
    session: Session, outgoing: Sequence[Outgoing], results: Sequence[Mapping[str, Result]]
) -> None:
    """Record one attempt of each message: `results` say per channel what came of it.

    A message that somebody else claimed meanwhile, because this sender overran its lease, is
    theirs to record. Three statements, however many messages: rows are neither loaded as
    objects nor updated one by one, because every message there is comes through here.
    """
    moment = clock.now()
    ids = [each.message_id for each in outgoing]
    statement = select(
        Message.id,
        Message.attempts,
        Message.taken_by,
        Message.template,
        Message.cause_id,
        Message.correlation_id,
        Message.version,
    ).where(Message.id.in_(ids), Message.status == "sending")
    present = {row.id: row for row in session.execute(statement.with_for_update())}
    changes: list[dict[str, Any]] = []
    attempts: list[dict[str, Any]] = []
    for each, by_channel in zip(outgoing, results, strict=True):
        row = present.get(each.message_id)
        if row is None or row.attempts != each.attempt:
            continue
        attempts.append(
            {
                "message_id": row.id,
                "number": each.attempt,
                "at": moment,
                "results": {name: answer.reason or "sent" for name, answer in by_channel.items()},
            }
        )
        missing = {name: answer for name, answer in by_channel.items() if answer.reason}
        verdict = _verdict(each.attempt, missing)
        told = Told(
            row.id, row.template, row.cause_id, row.correlation_id, row.version, each.traceparent
        )
        publish_end(session, told, verdict)
        changes.append(
            {
                "id": row.id,
                "status": become("sending", verdict.status),
                "reason": verdict.reason,
                "due_at": verdict.due_at,
                "taken_by": [*row.taken_by, *(by_channel.keys() - missing.keys())],
                "sent_at": moment if verdict.status == "sent" else None,
                "version": told.version,
            }
        )
    if changes:
        session.execute(insert(Attempt), attempts)
        session.execute(update(Message), changes)


def _verdict(attempt: int, missing: Mapping[str, Result]) -> Verdict:
    """Return what follows; while it is tried again, the reason is what the channel said."""
    verdict = after_attempt(
        attempt,
        clock.now(),
        missing=missing.keys(),
        hopeless=all(answer.final for answer in missing.values()),
    )
    if verdict.reason is None and missing:
        return Verdict(verdict.status, verdict.due_at, next(iter(missing.values())).reason)
    return verdict


def publish_end(session: Session, told: Told, verdict: Verdict) -> None:
    """Record the event of a message that is sent, given up or kept back; others have none."""
    facts = {
        "message_id": told.message_id,
        "template": told.template,
        "cause_id": told.cause_id,
    }
    cause = tracing.Cause(told.correlation_id, str(told.cause_id), told.traceparent)
    with tracing.caused_by(cause):
        if verdict.status == "sent":
            outbox.record(session, MessageSent, told, **facts)
        elif verdict.status in ("dead", "suppressed"):
            reason = verdict.reason or "unknown"
            outbox.record(session, MessageFailed, told, **facts, reason=reason)
