"""Record the results of handing messages to their channels."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select

from services.notifications.batch import NotificationsBatch
from services.notifications.models import Attempt, Message
from services.notifications.rules.messages import Decision, Result, after_attempt, transition
from services.notifications.use_cases.outgoing import Outgoing
from shared.messaging.batch import table_of
from shared.runtime import clock
from shared.runtime.bulk import among, update_rows


def record_attempts(
    batch: NotificationsBatch, outgoing: Sequence[Outgoing], results: Sequence[Mapping[str, Result]]
) -> None:
    """Record one attempt of each message, with its `results` per channel.

    A message is left out if this sender overran its lease and another sender claimed it since.
    Three statements, however many messages: every message comes through here, so rows are neither
    loaded as objects nor updated one by one.
    """
    moment = clock.now()
    statement = select(Message.id, Message.attempts).where(
        among(Message.id, [each.message_id for each in outgoing]), Message.status == "sending"
    )
    claimed = {id_: attempt for id_, attempt in batch.session.execute(statement.with_for_update())}
    changes: list[dict[str, Any]] = []
    for each, by_channel in zip(outgoing, results, strict=True):
        if claimed.get(each.message_id) != each.attempt:
            continue
        missing = {name: answer for name, answer in by_channel.items() if answer.reason}
        decision = _decision(each.attempt, missing)
        changes.append(
            {
                "id": each.message_id,
                "status": transition("sending", decision.status),
                "reason": decision.reason,
                "due_at": decision.due_at,
                "taken_by": [*each.taken_by, *(by_channel.keys() - missing.keys())],
                "sent_at": moment if decision.status == "sent" else None,
            }
        )
        # A message that all channels took at the first attempt says so itself.
        if missing or each.attempt > 1:
            batch.append(
                Attempt,
                message_id=each.message_id,
                number=each.attempt,
                at=moment,
                results={name: answer.reason or "sent" for name, answer in by_channel.items()},
            )
    update_rows(batch.session.connection(), table_of(Message), changes)


def _decision(attempt: int, missing: Mapping[str, Result]) -> Decision:
    """Return the next state; while a message is retried, its reason is the channel's."""
    decision = after_attempt(
        attempt,
        clock.now(),
        missing=missing.keys(),
        hopeless=all(answer.final for answer in missing.values()),
    )
    if decision.reason is None and missing:
        return Decision(decision.status, decision.due_at, next(iter(missing.values())).reason)
    return decision
