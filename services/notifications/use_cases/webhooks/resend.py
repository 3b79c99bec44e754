"""Deliver events once more, and pings."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.notifications.batch import NotificationsBatch
from services.notifications.models import Delivery, Endpoint, FeedEntry
from services.notifications.use_cases import feed
from services.notifications.use_cases.webhooks import scheduling
from services.notifications.use_cases.webhooks.endpoints import endpoint_for_update, record
from services.notifications.use_cases.webhooks.log import read_delivery
from shared.runtime import clock
from shared.runtime.errors import Conflict, Gone
from shared.runtime.ids import new_id

PING = "notifications.ping.v1"


class EventExpired(Gone):
    """Raised when an event is older than the feed's retention, so that it cannot be sent again."""


class NotResendable(Conflict):
    """Raised when a ping is asked for once more."""


class ResendInProgress(Conflict):
    """Raised when an earlier range is still being resent."""


class PingInProgress(Conflict):
    """Raised when an earlier ping was not sent yet."""


def resend_delivery(
    batch: NotificationsBatch,
    endpoint_id: UUID,
    partner: str | None,
    actor: str,
    delivery_id: UUID,
) -> Delivery:
    """Make a delivery due at once, or as soon as the earlier ones of its subject are delivered.

    Raises:
        EndpointNotFound, DeliveryNotFound
        NotResendable: it is a ping.
        EventExpired: the feed does not have its event any more.
    """
    endpoint = endpoint_for_update(batch, endpoint_id, partner)
    delivery = read_delivery(batch.session, endpoint_id, delivery_id, partner)
    if delivery.position is None:
        raise NotResendable("A ping is not sent again; make another one.")
    kept = select(FeedEntry.position).where(
        FeedEntry.subscription_id == endpoint.subscription_id,
        FeedEntry.position == delivery.position,
    )
    if batch.session.scalar(kept) is None:
        raise EventExpired("The event is older than the feed keeps it.")
    if delivery.finished_at is not None or delivery.next_try_at is not None:
        delivery.status, delivery.attempts = "waiting", 0
        delivery.finished_at = delivery.next_try_at = None
    record(batch, endpoint, actor, "resent", event_id=str(delivery.event_id))
    batch.flush()
    if endpoint.status == "active":
        scheduling.promote(batch.session, [endpoint_id], clock.now(), [delivery.subject])
    batch.session.refresh(delivery)
    return delivery


def resend_range(
    batch: NotificationsBatch,
    endpoint_id: UUID,
    partner: str | None,
    actor: str,
    *,
    after: str | None = None,
    until: str | None = None,
    since: datetime | None = None,
    before: datetime | None = None,
) -> Endpoint:
    """Send the events between two cursors or two moments once more; without an end all since.

    Events that the endpoint was never sent, because they are older than it, are sent as well. New
    events go on meanwhile; those of a subject stay in their order.

    Raises:
        EndpointNotFound
        MalformedCursor, CursorExpired, EpochChanged: a cursor cannot be used.
        ResendInProgress: an earlier range is not through yet.
    """
    endpoint = endpoint_for_update(batch, endpoint_id, partner)
    if endpoint.resend_after < endpoint.resend_until:
        raise ResendInProgress("An earlier range is still being resent; wait until it is through.")
    found = feed.find_feed(batch.session, endpoint.subscription.partner)
    start, end = found.subscription.pruned_position, endpoint.position
    if after is not None:
        start = feed.position_of(found, after)
    if since is not None:
        start = max(start, _position_before(batch.session, endpoint, since))
    if until is not None:
        end = min(end, feed.position_of(found, until))
    if before is not None:
        end = min(end, _position_before(batch.session, endpoint, before))
    if start < end:
        endpoint.resend_after, endpoint.resend_until = start, end
    record(batch, endpoint, actor, "range_resent", after=start, until=end)
    return endpoint


def ping(batch: NotificationsBatch, endpoint_id: UUID, partner: str | None, actor: str) -> Delivery:
    """Make a ping due, also for a suspended endpoint; it is sent once.

    Raises:
        EndpointNotFound
        PingInProgress: an earlier one was not sent yet.
    """
    endpoint = endpoint_for_update(batch, endpoint_id, partner)
    waiting = select(Delivery.id).where(
        Delivery.endpoint_id == endpoint_id,
        Delivery.subject == _subject(endpoint_id),
        Delivery.finished_at.is_(None),
    )
    if batch.session.scalar(waiting) is not None:
        raise PingInProgress("The ping before this one was not sent yet; wait for it.")
    moment = clock.now()
    delivery = Delivery(
        id=new_id(),
        endpoint_id=endpoint_id,
        position=None,
        event_id=new_id(),
        type=PING,
        subject=_subject(endpoint_id),
        status="waiting",
        attempts=0,
        tries=[],
        next_try_at=moment,
        created_at=moment,
        finished_at=None,
    )
    batch.session.add(delivery)
    record(batch, endpoint, actor, "pinged")
    return delivery


def _subject(endpoint_id: UUID) -> str:
    return f"endpoint/{endpoint_id}"


def _position_before(session: Session, endpoint: Endpoint, moment: datetime) -> int:
    """Return the position of the last entry that was entered before a moment."""
    first = session.scalar(
        select(func.min(FeedEntry.position)).where(
            FeedEntry.subscription_id == endpoint.subscription_id, FeedEntry.entered_at >= moment
        )
    )
    return endpoint.position if first is None else first - 1
