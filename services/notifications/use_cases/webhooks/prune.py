"""Delete old deliveries, and those of deleted endpoints."""

from datetime import timedelta

from sqlalchemy import delete, select, text, update

from services.notifications.batch import NotificationsBatch
from services.notifications.models import Delivery, Endpoint
from services.notifications.models.webhooks import UNFINISHED
from services.notifications.use_cases.webhooks import scheduling
from shared.messaging.batch import table_of
from shared.runtime import clock
from shared.runtime.bulk import among

#: Rows changed in one transaction at most.
CHUNK = 5000


def prune_deliveries(batch: NotificationsBatch, days: int) -> bool:
    """Delete what ended more than `days` ago; return whether there may be more.

    A delivery that has waited for longer expires: the feed does not have its event any more. The
    next one of its subject is due then.
    """
    moment = clock.now()
    before = moment - timedelta(days=days)
    session = batch.session
    deliveries = table_of(Delivery)
    gone = select(Endpoint.id).where(Endpoint.deleted_at.is_not(None))
    of_deleted = select(Delivery.id).where(Delivery.endpoint_id.in_(gone)).limit(CHUNK)
    ended = select(Delivery.id).where(Delivery.finished_at < before).limit(CHUNK)
    counts = [
        session.connection().execute(delete(deliveries).where(deliveries.c.id.in_(chosen))).rowcount
        for chosen in (of_deleted, ended)
    ]
    if counts[0] < CHUNK:
        has_rows = select(Delivery.endpoint_id).where(Delivery.endpoint_id == Endpoint.id).exists()
        endpoints = table_of(Endpoint)
        empty = select(Endpoint.id).where(Endpoint.deleted_at.is_not(None), ~has_rows)
        session.connection().execute(delete(endpoints).where(endpoints.c.id.in_(empty)))
    overdue = session.execute(
        select(Delivery.id, Delivery.endpoint_id)
        .where(Delivery.created_at < before, text(UNFINISHED))
        .limit(CHUNK)
    ).all()
    endpoint_ids = {row.endpoint_id for row in overdue}
    batch.load_for_update(Endpoint.id, endpoint_ids)
    session.connection().execute(
        update(deliveries)
        .where(among(deliveries.c.id, [row.id for row in overdue]), text(UNFINISHED))
        .values(status="expired", finished_at=moment, next_try_at=None)
    )
    active = [
        id_
        for id_ in endpoint_ids
        if (each := batch.get_for_update(Endpoint.id, id_)) and each.status == "active"
    ]
    scheduling.promote(session, active, moment)
    return CHUNK in (*counts, len(overdue))
