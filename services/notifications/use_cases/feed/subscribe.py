"""Make and change subscriptions."""

from collections.abc import Sequence

from sqlalchemy import delete, select

from services.notifications.batch import NotificationsBatch
from services.notifications.models import Subscription
from services.notifications.rules.feed import check_patterns, wanted
from services.notifications.use_cases.feed.actions import record_action
from services.notifications.use_cases.feed.enter import EPOCH
from shared.runtime import clock
from shared.runtime.errors import NotFound
from shared.runtime.ids import new_id
from shared.runtime.locks import advisory_lock


class SubscriptionNotFound(NotFound):
    """Raised when a partner has no subscription."""


def subscribe(
    batch: NotificationsBatch, partner: str, actor: str, types: Sequence[str]
) -> Subscription:
    """Set the event types of a partner's subscription, which is made if there is none.

    Raises:
        UnknownTypes: a pattern matches no event type.
        NotGranted: a pattern only matches types that an operator has not granted.
    """
    subscription = _locked(batch, partner)
    check_patterns(types, subscription.grants if subscription else ())
    if subscription is None:
        subscription = _make(batch, partner, actor)
    _change(batch, subscription, actor, types, subscription.grants)
    return subscription


def grant(
    batch: NotificationsBatch, partner: str, actor: str, grants: Sequence[str]
) -> Subscription:
    """Set what a partner gets besides its own orders; the subscription is made if there is none."""
    subscription = _locked(batch, partner) or _make(batch, partner, actor)
    _change(batch, subscription, actor, subscription.types, sorted(set(grants)))
    return subscription


def remove_subscription(batch: NotificationsBatch, partner: str, actor: str) -> None:
    """Remove a subscription with all entries.

    Raises:
        SubscriptionNotFound
    """
    # The consumer may be about to append an entry.
    advisory_lock(batch.session, "consumer")
    subscription = _locked(batch, partner)
    if subscription is None:
        raise SubscriptionNotFound(f"There is no subscription of {partner}.")
    batch.session.execute(delete(Subscription).where(Subscription.id == subscription.id))
    record_action(batch, partner, actor, "unsubscribed", {})


def _locked(batch: NotificationsBatch, partner: str) -> Subscription | None:
    advisory_lock(batch.session, f"subscription/{partner}")
    return batch.session.scalars(
        select(Subscription).where(Subscription.partner == partner).with_for_update()
    ).one_or_none()


def _make(batch: NotificationsBatch, partner: str, actor: str) -> Subscription:
    epoch = batch.session.scalar(select(EPOCH))
    subscription = Subscription(
        id=new_id(),
        partner=partner,
        types=[],
        grants=[],
        is_wide=False,
        last_position=0,
        pruned_position=0,
        epochs=[[epoch, 0]],
        created_at=clock.now(),
    )
    batch.session.add(subscription)
    record_action(batch, partner, actor, "subscribed", {})
    return subscription


def _change(
    batch: NotificationsBatch,
    subscription: Subscription,
    actor: str,
    types: Sequence[str],
    grants: Sequence[str],
) -> None:
    before = {"types": subscription.types, "grants": subscription.grants}
    after = {"types": list(dict.fromkeys(types)), "grants": list(grants)}
    if before != after:
        subscription.types, subscription.grants = after["types"], after["grants"]
        subscription.is_wide = bool(wanted(tuple(after["types"]), tuple(after["grants"])).wide)
        details = {"before": before, "after": after}
        record_action(batch, subscription.partner, actor, "subscription_changed", details)
