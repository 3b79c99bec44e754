"""Record what came of handing messages to their channels."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from services.notifications.models import Attempt, Message
from services.notifications.rules import Result, Verdict, after_attempt, become
from services.notifications.use_cases.outgoing import Outgoing
from shared.runtime import clock


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
    statement = select(Message.id, Message.attempts, Message.taken_by).where(
        Message.id.in_(ids), Message.status == "sending"
    )
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
        changes.append(
            {
                "id": row.id,
                "status": become("sending", verdict.status),
                "reason": verdict.reason,
                "due_at": verdict.due_at,
                "taken_by": [*row.taken_by, *(by_channel.keys() - missing.keys())],
                "sent_at": moment if verdict.status == "sent" else None,
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
