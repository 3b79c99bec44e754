"""Record what came of handing messages to their channels."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from sqlalchemy.orm import Session

from services.notifications.models import Attempt, Message
from services.notifications.rules import Result, after_attempt, become
from services.notifications.use_cases.outgoing import Outgoing
from shared import clock, outbox, tracing
from shared.events import MessageFailed, MessageSent
from shared.rows import lock_rows, locked


def record_attempts(
    session: Session, outgoing: Sequence[Outgoing], results: Sequence[Mapping[str, Result]]
) -> None:
    """Record one attempt of each message: `results` say per channel what came of it.

    A message that somebody else claimed meanwhile, because this sender overran its lease, is
    theirs to record.
    """
    moment = clock.now()
    lock_rows(session, Message.id, [each.message_id for each in outgoing])
    for each, by_channel in zip(outgoing, results, strict=True):
        message: Message | None = locked(session, Message.id, each.message_id)
        if message is None or message.status != "sending" or message.attempts != each.attempt:
            continue
        session.add(
            Attempt(
                message_id=message.id,
                number=each.attempt,
                at=moment,
                results={name: result.reason or "sent" for name, result in by_channel.items()},
            )
        )
        taken = [name for name, result in by_channel.items() if result.reason is None]
        missing = [result for result in by_channel.values() if result.reason is not None]
        verdict = after_attempt(
            message.attempts,
            moment,
            missing=[result.reason or "" for result in missing],
            hopeless=all(result.final for result in missing),
        )
        message.taken_by = [*message.taken_by, *taken]
        message.status = become(message.status, verdict.status)
        message.due_at = verdict.due_at
        message.reason = verdict.reason or (missing[0].reason if missing else None)
        if verdict.status == "sent":
            message.sent_at = moment
            with _because_of(message):
                outbox.record(
                    session,
                    MessageSent,
                    message,
                    message_id=message.id,
                    template=message.template,
                    cause_id=message.cause_id,
                )
        elif verdict.status == "dead":
            fail(session, message)


def fail(session: Session, message: Message) -> None:
    """Record that a message is given up; its `reason` says why."""
    with _because_of(message):
        outbox.record(
            session,
            MessageFailed,
            message,
            message_id=message.id,
            template=message.template,
            cause_id=message.cause_id,
            reason=message.reason or "unknown",
        )


def _because_of(message: Message) -> AbstractContextManager[None]:
    return tracing.caused_by(tracing.Cause(message.correlation_id, str(message.cause_id)))
