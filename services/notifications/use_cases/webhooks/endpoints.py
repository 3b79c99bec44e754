"""Make, change, stop and delete endpoints; each action is recorded."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session, contains_eager

from services.notifications.batch import NotificationsBatch
from services.notifications.models import Endpoint, Subscription
from services.notifications.rules.feed import check_patterns
from services.notifications.rules.webhooks import MOST_ENDPOINTS, Health
from services.notifications.use_cases import feed
from services.notifications.use_cases.webhooks import scheduling
from shared.runtime import clock
from shared.runtime.errors import Conflict, NotFound
from shared.runtime.ids import new_id
from shared.runtime.paging import Page, filtered, page


class EndpointNotFound(NotFound):
    """Raised when there is no such endpoint, or it is another partner's."""


class NotSubscribed(Conflict):
    """Raised when a partner without a subscription asks for an endpoint."""


class TooManyEndpoints(Conflict):
    """Raised when a partner has as many endpoints as it may have."""


def create_endpoint(
    batch: NotificationsBatch,
    partner: str,
    actor: str,
    *,
    url: str,
    types: Sequence[str],
    description: str | None,
    after: str | None,
) -> Endpoint:
    """Create an endpoint that gets the events behind the cursor `after`; None: only new ones.

    Raises:
        NotSubscribed: the partner has no subscription.
        UnknownTypes, NotGranted: a pattern matches no event type that the partner may get.
        MalformedCursor, CursorExpired, EpochChanged: the cursor cannot be used.
        TooManyEndpoints: the partner has as many as it may have.
    """
    try:
        found = feed.find_feed(batch.session, partner)
    except feed.SubscriptionNotFound as error:
        raise NotSubscribed(error.detail) from error
    subscription = found.subscription
    check_patterns(types, subscription.grants)
    position = subscription.last_position if after is None else feed.position_of(found, after)
    count = batch.session.scalar(
        select(func.count()).where(
            Endpoint.subscription_id == subscription.id, Endpoint.deleted_at.is_(None)
        )
    )
    if count is not None and count >= MOST_ENDPOINTS:
        raise TooManyEndpoints(f"You have {count} endpoints, as many as you may; delete one.")
    health = Health()
    endpoint = Endpoint(
        id=new_id(),
        subscription_id=subscription.id,
        url=url,
        description=description,
        types=list(dict.fromkeys(types)),
        position=position,
        resend_after=0,
        resend_until=0,
        secret_number=1,
        previous_until=None,
        status=health.status,
        reason=health.reason,
        failures=health.failures,
        failing_since=health.failing_since,
        paused_until=health.paused_until,
        created_at=clock.now(),
        deleted_at=None,
    )
    batch.session.add(endpoint)
    feed.record_action(
        batch, partner, actor, "endpoint_created", {"endpoint_id": str(endpoint.id), "url": url}
    )
    return endpoint


def list_endpoints(
    session: Session, *, limit: int, cursor: str | None = None, partner: str | None = None
) -> Page[Endpoint]:
    """Return endpoints, the oldest first; of one partner or of all."""
    statement = filtered(
        select(Endpoint)
        .join(Subscription, Subscription.id == Endpoint.subscription_id)
        .where(Endpoint.deleted_at.is_(None))
        .options(contains_eager(Endpoint.subscription)),
        {Subscription.partner: partner},
    )
    return page(session, statement, Endpoint.id, limit=limit, cursor=cursor)


def read_endpoint(session: Session, endpoint_id: UUID, partner: str | None) -> Endpoint:
    """Return an endpoint; with `partner` only one of this partner.

    Raises:
        EndpointNotFound
    """
    endpoint = session.get(Endpoint, endpoint_id)
    if (
        endpoint is None
        or endpoint.deleted_at is not None
        or partner not in (None, endpoint.subscription.partner)
    ):
        raise EndpointNotFound("There is no endpoint with this id.")
    return endpoint


def endpoint_for_update(
    batch: NotificationsBatch, endpoint_id: UUID, partner: str | None
) -> Endpoint:
    """Return an endpoint, locked until the commit.

    Raises:
        EndpointNotFound
    """
    batch.load_for_update(Endpoint.id, [endpoint_id])
    return read_endpoint(batch.session, endpoint_id, partner)


def change_endpoint(
    batch: NotificationsBatch,
    endpoint_id: UUID,
    partner: str | None,
    actor: str,
    changes: dict[str, Any],
) -> Endpoint:
    """Change `url`, `types` or `description`; other types concern entries that were not read yet.

    Raises:
        EndpointNotFound
        UnknownTypes, NotGranted: a pattern matches no event type that the partner may get.
    """
    endpoint = endpoint_for_update(batch, endpoint_id, partner)
    check_patterns(changes.get("types", ()), endpoint.subscription.grants)
    before = {name: getattr(endpoint, name) for name in changes}
    for name, value in changes.items():
        setattr(endpoint, name, value)
    if before != changes:
        record(batch, endpoint, actor, "changed", before=before, after=changes)
    return endpoint


def delete_endpoint(
    batch: NotificationsBatch, endpoint_id: UUID, partner: str | None, actor: str
) -> None:
    """Delete an endpoint; its log is deleted later.

    Raises:
        EndpointNotFound
    """
    endpoint = endpoint_for_update(batch, endpoint_id, partner)
    scheduling.hold(batch.session, [endpoint_id])
    endpoint.deleted_at = clock.now()
    record(batch, endpoint, actor, "deleted", url=endpoint.url)


def suspend_endpoint(
    batch: NotificationsBatch, endpoint_id: UUID, partner: str | None, actor: str
) -> Endpoint:
    """Stop deliveries until the endpoint is resumed; it keeps its place in the feed.

    Raises:
        EndpointNotFound
    """
    endpoint = endpoint_for_update(batch, endpoint_id, partner)
    if endpoint.status == "active":
        scheduling.hold(batch.session, [endpoint_id])
        endpoint.health = Health("suspended", "asked", endpoint.failures, endpoint.failing_since)
        record(batch, endpoint, actor, "suspended", reason="asked")
    return endpoint


def resume_endpoint(
    batch: NotificationsBatch, endpoint_id: UUID, partner: str | None, actor: str
) -> Endpoint:
    """Go on with deliveries where they stopped; all that wait are due at once.

    Raises:
        EndpointNotFound
    """
    endpoint = endpoint_for_update(batch, endpoint_id, partner)
    if endpoint.health != Health():
        record(batch, endpoint, actor, "resumed", status=endpoint.status, reason=endpoint.reason)
        # Also the retries of an active endpoint: its partner says that its server works again.
        scheduling.hold(batch.session, [endpoint_id])
        endpoint.health = Health()
    scheduling.promote(batch.session, [endpoint_id], clock.now())
    return endpoint


def rotate_secret(
    batch: NotificationsBatch,
    endpoint_id: UUID,
    partner: str | None,
    actor: str,
    overlap_hours: int,
) -> Endpoint:
    """Give an endpoint a new secret; the one before signs, too, for `overlap_hours`.

    Raises:
        EndpointNotFound
    """
    endpoint = endpoint_for_update(batch, endpoint_id, partner)
    endpoint.secret_number += 1
    endpoint.previous_until = clock.now() + timedelta(hours=overlap_hours)
    record(batch, endpoint, actor, "secret_rotated", overlap_hours=overlap_hours)
    return endpoint


def record_shown_secret(
    batch: NotificationsBatch, endpoint_id: UUID, partner: str | None, actor: str
) -> Endpoint:
    """Record that somebody was shown an endpoint's secret.

    Raises:
        EndpointNotFound
    """
    endpoint = endpoint_for_update(batch, endpoint_id, partner)
    record(batch, endpoint, actor, "secret_shown")
    return endpoint


def record(
    batch: NotificationsBatch, endpoint: Endpoint, actor: str, action: str, **details: Any
) -> None:
    """Record an action on an endpoint."""
    feed.record_action(
        batch,
        endpoint.subscription.partner,
        actor,
        f"endpoint_{action}",
        {"endpoint_id": str(endpoint.id)} | details,
    )
