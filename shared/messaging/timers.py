"""Timers: those of a service, and those that every service needs for its messaging tables.

One thread runs them all, in one worker of the service at a time. A timer is an edge: it opens
its own short transactions, may be killed at any point, and may run twice.
"""

import heapq
from collections.abc import Sequence
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from sqlalchemy import delete, select, tuple_
from sqlalchemy.orm import Session

from shared.messaging.leader import STAND_BY, leading
from shared.messaging.processing import Processor
from shared.messaging.service import Timer
from shared.messaging.tables import Inbox, Outbox
from shared.runtime.clock import now
from shared.runtime.config import Settings
from shared.runtime.database import Database, DatabaseError, classify
from shared.runtime.logs import get
from shared.runtime.supervision import Stopping
from shared.runtime.tables import IdempotencyKey
from shared.runtime.watchdog import Limit, unlimited

log = get(__name__)

#: Rows deleted in one transaction.
CHUNK = 5000
#: How long the stored answer to a POST is kept.
ANSWERS_KEPT = timedelta(hours=24)


def upkeep(processor: Processor) -> Sequence[Timer]:
    """Return the timers of every service: retry parked events, and prune."""
    return (
        Timer("retry_parked", 1.0, lambda database, settings: processor.retry_parked()),
        Timer("prune", 3600.0, prune),
    )


def prune(database: Database, settings: Settings) -> bool:
    """Delete rows that are older than their retention; return whether there are more.

    Published events are kept for `outbox_days`, since they are the feed; inbox rows for
    `inbox_days`, since they must outlive every copy of their event; answers for 24 hours.
    """
    moment = now()
    published_before = moment - timedelta(days=settings.outbox_days)
    handled_before = moment - timedelta(days=settings.inbox_days)
    with database.sessions.begin() as session:
        old = (
            select(Outbox.id)
            .where(Outbox.position.is_not(None), Outbox.published_at < published_before)
            .order_by(Outbox.position)
            .limit(CHUNK)
        )
        events = session.execute(delete(Outbox).where(Outbox.id.in_(old)))
    with database.sessions.begin() as session:
        old_ids = select(Inbox.event_id).where(Inbox.handled_at < handled_before).limit(CHUNK)
        handled = session.execute(delete(Inbox).where(Inbox.event_id.in_(old_ids)))
    with database.sessions.begin() as session:
        answers = prune_answers(session, moment - ANSWERS_KEPT)
    counts = [_rowcount(events), _rowcount(handled), answers]
    if any(counts):
        log.info("pruned", outbox=counts[0], inbox=counts[1], count=answers)
    return CHUNK in counts


def prune_answers(session: Session, before: datetime) -> int:
    """Delete up to `CHUNK` stored answers from before a moment; return how many."""
    names = tuple_(IdempotencyKey.client, IdempotencyKey.key)
    old = (
        select(IdempotencyKey.client, IdempotencyKey.key)
        .where(IdempotencyKey.answered_at < before)
        .limit(CHUNK)
    )
    statement = delete(IdempotencyKey).where(names.in_(old))
    options = {"synchronize_session": False}
    return _rowcount(session.execute(statement, execution_options=options))


def _rowcount(result: Any) -> int:
    return int(result.rowcount)


def run_timers(
    timers: Sequence[Timer],
    database: Database,
    settings: Settings,
    stopping: Stopping,
    limit: Limit = unlimited,
) -> None:
    """Run the timers when they are due, until stopped, as the only worker of the service.

    A timer that fails is logged and runs again at its next time; the others run on time. When the
    database becomes unavailable, the lock is lost, and the loop ends with the error.
    """
    with leading(database, "timers", stopping) as check_lock:
        queue = [(monotonic(), index) for index, _ in enumerate(timers)]
        heapq.heapify(queue)
        while not stopping.is_set():
            due, index = queue[0]
            wait = due - monotonic()
            if wait > 0:
                stopping.pause(min(wait, STAND_BY))
                continue
            with limit("the timers' lock"):
                check_lock()
            timer = timers[index]
            with limit(f"timer {timer.name}"):
                more = _run_one(timer, database, settings)
            heapq.heapreplace(queue, (monotonic() + (0.0 if more else timer.seconds), index))


def _run_one(timer: Timer, database: Database, settings: Settings) -> bool:
    try:
        return bool(timer.run(database, settings))
    except Exception as error:
        if classify(error) is DatabaseError.UNAVAILABLE:
            raise
        log.error("timer failed", timer=timer.name, error=repr(error))
        return False
