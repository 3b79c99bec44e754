"""Read the feed for the endpoints: each entry that an endpoint wants gets a delivery.

The deliveries and the endpoints' new positions are committed together, before anything is sent. So
whenever the sender is killed, each entry up to a position has its delivery, and no entry has two.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import case, exists, or_, select, text
from sqlalchemy.orm import Session

from services.notifications.batch import NotificationsBatch
from services.notifications.models import Delivery, Endpoint, FeedEntry, Subscription
from services.notifications.models.webhooks import UNFINISHED
from services.notifications.rules.webhooks import is_wanted
from shared.messaging.batch import table_of
from shared.runtime import clock
from shared.runtime.bulk import among, insert_rows, update_rows
from shared.runtime.ids import new_id

#: Entries that are read for an endpoint at once.
WINDOW = 50
#: Endpoints that are read for at once.
MOST_ENDPOINTS = 200


def any_endpoint(session: Session) -> bool:
    """Tell whether there is an endpoint at all."""
    return (
        session.scalar(select(Endpoint.id).where(Endpoint.deleted_at.is_(None)).limit(1))
        is not None
    )


def load_unread(session: Session, busy: Collection[UUID]) -> Sequence[UUID]:
    """Return active endpoints with entries that have no delivery yet, but not those in `busy`.

    For a paused endpoint entries are read one window at a time, when all earlier ones were tried:
    one of them may be the only one that its server can handle.
    """
    untried = exists().where(
        Delivery.endpoint_id == Endpoint.id, text(UNFINISHED), Delivery.attempts == 0
    )
    found = session.scalars(
        select(Endpoint.id)
        .join(Subscription, Subscription.id == Endpoint.subscription_id)
        .where(
            Endpoint.status == "active",
            Endpoint.deleted_at.is_(None),
            or_(
                Endpoint.position < Subscription.last_position,
                Endpoint.resend_after < Endpoint.resend_until,
            ),
            or_(Endpoint.paused_until.is_(None), ~untried),
        )
        .order_by(Endpoint.id)
    )
    return [each for each in found if each not in busy][:MOST_ENDPOINTS]


def read_ahead(batch: NotificationsBatch, endpoint_ids: Sequence[UUID]) -> None:
    """Make deliveries of the next entries of each of these endpoints."""
    batch.load_for_update(Endpoint.id, endpoint_ids)
    endpoints = {
        id_: endpoint
        for id_ in endpoint_ids
        if (endpoint := batch.get_for_update(Endpoint.id, id_)) is not None
        and endpoint.status == "active"
        and endpoint.deleted_at is None
    }
    again = [id_ for id_, each in endpoints.items() if each.resend_after < each.resend_until]
    _resend(batch, endpoints, again)
    entries = _entries(batch.session, list(endpoints))
    _schedule(batch, endpoints, [e for each in entries.values() for e in each], {})
    for id_, found in entries.items():
        endpoints[id_].position = found[-1].position


def _resend(
    batch: NotificationsBatch, endpoints: dict[UUID, Endpoint], endpoint_ids: Sequence[UUID]
) -> None:
    """Make the next entries of the ranges to resend due once more."""
    if not endpoint_ids:
        return
    entries = _entries(batch.session, endpoint_ids, again=True)
    known: dict[tuple[UUID, int | None], Any] = {
        (row.endpoint_id, row.position): row
        for row in batch.session.execute(
            select(Delivery.id, Delivery.endpoint_id, Delivery.position, Delivery.finished_at)
            .join(Endpoint, Endpoint.id == Delivery.endpoint_id)
            .where(
                among(Delivery.endpoint_id, endpoint_ids),
                Delivery.position > Endpoint.resend_after,
                Delivery.position <= Endpoint.resend_after + WINDOW,
            )
        )
    }
    _schedule(batch, endpoints, [e for each in entries.values() for e in each], known)
    for id_ in endpoint_ids:
        endpoint, found = endpoints[id_], entries.get(id_)
        # No entry is left in the range: it began before the oldest one, or ends there.
        endpoint.resend_after = found[-1].position if found else endpoint.resend_until


def _entries(
    session: Session, endpoint_ids: Sequence[UUID], *, again: bool = False
) -> dict[UUID, list[Any]]:
    """Return the next entries of each endpoint, in their order."""
    after = Endpoint.resend_after if again else Endpoint.position
    start = case((Subscription.pruned_position > after, Subscription.pruned_position), else_=after)
    statement = (
        select(
            Endpoint.id.label("endpoint_id"),
            FeedEntry.position,
            FeedEntry.event_id,
            FeedEntry.type,
            FeedEntry.subject,
        )
        .join(Subscription, Subscription.id == Endpoint.subscription_id)
        .join(FeedEntry, FeedEntry.subscription_id == Endpoint.subscription_id)
        .where(
            among(Endpoint.id, endpoint_ids),
            FeedEntry.position > start,
            FeedEntry.position <= start + WINDOW,
        )
        .order_by(Endpoint.id, FeedEntry.position)
    )
    if again:
        statement = statement.where(FeedEntry.position <= Endpoint.resend_until)
    found: defaultdict[UUID, list[Any]] = defaultdict(list)
    for row in session.execute(statement):
        found[row.endpoint_id].append(row)
    return found


def _schedule(
    batch: NotificationsBatch,
    endpoints: dict[UUID, Endpoint],
    entries: Sequence[Any],
    known: dict[tuple[UUID, int | None], Any],
) -> None:
    """Insert deliveries, or make those that are `known` and finished unfinished again.

    The first of each subject is due at once, or when its endpoint's pause ends.
    """
    wanted = [e for e in entries if is_wanted(e.type, endpoints[e.endpoint_id].types)]
    if not wanted:
        return
    moment = clock.now()
    taken = {
        (endpoint_id, subject)
        for endpoint_id, subject in batch.session.execute(
            select(Delivery.endpoint_id, Delivery.subject).where(
                among(Delivery.endpoint_id, {e.endpoint_id for e in wanted}),
                among(Delivery.subject, {e.subject for e in wanted}),
                text(UNFINISHED),
            )
        )
    }
    new, again = [], []
    for entry in wanted:
        before = known.get((entry.endpoint_id, entry.position))
        if before is not None and before.finished_at is None:
            continue
        key = (entry.endpoint_id, entry.subject)
        pause = endpoints[entry.endpoint_id].paused_until
        state = {
            "status": "waiting",
            "attempts": 0,
            "next_try_at": None if key in taken else max(moment, pause or moment),
            "finished_at": None,
        }
        taken.add(key)
        if before is not None:
            again.append({"id": before.id} | state)
        else:
            new.append(
                {
                    "id": new_id(),
                    "endpoint_id": entry.endpoint_id,
                    "position": entry.position,
                    "event_id": entry.event_id,
                    "type": entry.type,
                    "subject": entry.subject,
                    "tries": [],
                    "created_at": moment,
                }
                | state
            )
    connection = batch.session.connection()
    update_rows(connection, table_of(Delivery), again)
    insert_rows(connection, table_of(Delivery), new)
