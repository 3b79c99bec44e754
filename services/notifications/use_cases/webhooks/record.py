"""Record the results of attempts: the log, the next attempt, and the endpoints' health."""

import random
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select

from services.notifications.batch import NotificationsBatch
from services.notifications.models import Delivery, Endpoint
from services.notifications.rules.webhooks import (
    MOST_TRIES,
    Answer,
    health_after,
    next_try,
)
from services.notifications.use_cases.webhooks import scheduling
from services.notifications.use_cases.webhooks.due import DueDelivery
from services.notifications.use_cases.webhooks.endpoints import record
from shared.messaging.batch import table_of
from shared.runtime import clock
from shared.runtime.bulk import update_rows

#: Who suspends an endpoint whose attempts fail.
SENDER = "farmgate"


def record_results(
    batch: NotificationsBatch, results: Sequence[tuple[DueDelivery, Answer | None]]
) -> None:
    """Record attempts in the order in which they ended.

    An answer of None says that the delivery's entry is gone: it expires. A result is left out if
    its endpoint was deleted, or if the delivery has changed since it was loaded.
    """
    moment = clock.now()
    batch.load_for_update(Endpoint.id, {each.endpoint_id for each, _ in results})
    known = {
        row.id: row
        for row in batch.session.execute(
            select(Delivery.id, Delivery.attempts, Delivery.tries, Delivery.finished_at).where(
                # SQLite would read the whole log for `among` alone.
                Delivery.id.in_([each.id for each, _ in results])
            )
        )
    }
    changes: dict[UUID, dict[str, Any]] = {}
    held: dict[UUID, bool] = {}
    done: dict[UUID, list[str]] = {}
    for each, answer in results:
        endpoint = batch.get_for_update(Endpoint.id, each.endpoint_id)
        row = known.get(each.id)
        if endpoint is None or endpoint.deleted_at is not None or row is None:
            continue
        if row.finished_at is not None or row.attempts != each.attempts:
            continue
        held.setdefault(endpoint.id, endpoint.paused_until is not None)
        change = changes[each.id] = _change(each, answer, row.tries, moment)
        is_ping = each.position is None
        if answer is not None and not (is_ping and answer.reason):
            before = endpoint.status
            endpoint.health = health_after(
                endpoint.health, answer, moment, first=each.attempts == 0
            )
            if endpoint.status != before:
                record(batch, endpoint, SENDER, endpoint.status, reason=endpoint.reason)
        if change["finished_at"] is not None:
            done.setdefault(endpoint.id, []).append(each.subject)
    # The ORM would write the endpoints one by one; the batch writes them together at its end.
    with batch.session.no_autoflush:
        update_rows(batch.session.connection(), table_of(Delivery), [*changes.values()])
        _reschedule(batch, held, done, moment)


def _change(
    each: DueDelivery, answer: Answer | None, tries: Sequence[dict[str, Any]], moment: datetime
) -> dict[str, Any]:
    attempts = each.attempts + (answer is not None)
    change = {
        "id": each.id,
        "status": "delivered",
        "attempts": attempts,
        "tries": [*tries, *([] if answer is None else [_logged(answer, moment)])][-MOST_TRIES:],
        "next_try_at": None,
        "finished_at": moment,
    }
    if answer is None:
        return change | {"status": "expired"}
    if answer.reason is None:
        return change
    if each.position is None:
        return change | {"status": "failed"}
    due_at = next_try(attempts, answer, moment, random.uniform(-1, 1))
    return change | {"status": "retrying", "next_try_at": due_at, "finished_at": None}


def _logged(answer: Answer, moment: datetime) -> dict[str, Any]:
    return {
        "at": clock.rfc3339(moment),
        "status": answer.status,
        "reason": answer.reason,
        "milliseconds": answer.milliseconds,
    }


def _reschedule(
    batch: NotificationsBatch,
    held: dict[UUID, bool],
    done: dict[UUID, list[str]],
    moment: datetime,
) -> None:
    """Schedule what may be sent next, after the endpoints' health is known.

    While an endpoint pauses, only one delivery is scheduled. When it works again, all its
    subjects are due at once, however long their own pauses would be.
    """
    stopped, until, recovered = [], {}, []
    for id_, was_paused in held.items():
        endpoint = batch.get_for_update(Endpoint.id, id_)
        assert endpoint is not None
        if endpoint.status != "active" or endpoint.paused_until is not None:
            stopped.append(id_)
            if endpoint.status == "active":
                until[id_] = endpoint.paused_until
        elif was_paused:
            recovered.append(id_)
    scheduling.hold(batch.session, [*stopped, *recovered])
    scheduling.probe(batch.session, until)
    scheduling.promote(batch.session, recovered, moment)
    going = [id_ for id_ in done if id_ not in {*stopped, *recovered}]
    subjects = {subject for id_ in going for subject in done[id_]}
    scheduling.promote(batch.session, going, moment, subjects)
