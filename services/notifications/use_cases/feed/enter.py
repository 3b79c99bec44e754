"""Enter the events of a batch into the feeds that get them.

The consumer is one at a time and holds its lock until the commit. So the positions that it assigns
are in the order of the commits: a reader that has seen a position has seen all smaller ones.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, or_, select

from services.notifications.batch import NotificationsBatch
from services.notifications.models import EarlyFact, FeedEntry, OrderReadModel, Subscription
from services.notifications.rules.feed import OF_ORDERS, is_open, wanted
from services.notifications.use_cases.read_models import get_or_new_order
from shared.events import ApprovalRequested, Fact, OrderFact, OrderPlaced
from shared.messaging.envelope import Event
from shared.messaging.tables import RelayState
from shared.runtime import clock
from shared.runtime.bulk import among

#: The epoch of the database: it rises when a backup is restored, which may lose entries.
EPOCH = func.coalesce(select(RelayState.epoch).scalar_subquery(), 1)


def load_subscriptions(batch: NotificationsBatch, partners: Iterable[str]) -> None:
    """Load, in one statement, the partners' subscriptions and those that get others' events."""
    missing = {partner for partner in partners if partner not in batch.subscriptions}
    if batch.wide is not None and not missing:
        return
    batch.subscriptions.update(dict.fromkeys(missing))
    rows = batch.session.execute(
        select(Subscription, EPOCH)
        .where(or_(Subscription.is_wide, among(Subscription.partner, missing)))
        .order_by(Subscription.id)
    )
    batch.wide = []
    for subscription, batch.epoch in rows:
        if subscription.partner in missing:
            batch.subscriptions[subscription.partner] = subscription
        if subscription.is_wide:
            batch.wide.append(subscription)


def partner_in(fact: Fact) -> str | None:
    """Return the partner that a fact names: whose order it is about."""
    return fact.partner or None if isinstance(fact, OrderFact) else None


def is_awaited(batch: NotificationsBatch, event: Event[Any]) -> bool:
    """Tell whether the event makes known an order of which other facts came before."""
    if not isinstance(event.data, (OrderPlaced, ApprovalRequested)):
        return False
    order = batch.get_for_update(OrderReadModel.order_id, event.data.order_id)
    return order is not None and order.person is None


def enter(batch: NotificationsBatch, event: Event[Any]) -> None:
    """Enter an event into the feeds of all subscriptions that get it.

    A shipment's fact about an order that is not known yet waits for the order: only the order says
    whose it is, and is the first that its partner hears of it.
    """
    partner = None
    if event.type in OF_ORDERS:
        order_id: UUID = event.data.order_id
        order = batch.get_for_update(OrderReadModel.order_id, order_id)
        if event.publisher != "orders" and (order is None or order.person is None):
            get_or_new_order(batch, order_id)
            _hold(batch, order_id, event)
            return
        if order is not None:
            order.partner = partner = partner_in(event.data) or order.partner
    _enter(batch, partner, event)


def release(batch: NotificationsBatch, order_id: UUID) -> None:
    """Enter the facts that waited for an order, in the order of their arrival."""
    batch.flush()
    order = batch.get_for_update(OrderReadModel.order_id, order_id)
    facts = batch.session.scalars(
        select(EarlyFact).where(EarlyFact.order_id == order_id).order_by(EarlyFact.arrival)
    ).all()
    for fact in facts:
        _enter(batch, order.partner if order is not None else None, fact)
    if facts:
        batch.session.execute(delete(EarlyFact).where(EarlyFact.order_id == order_id))


def _enter(batch: NotificationsBatch, partner: str | None, event: Event[Any] | EarlyFact) -> None:
    load_subscriptions(batch, () if partner is None else (partner,))
    own = None if partner is None else batch.subscriptions[partner]
    if own is not None:
        types = wanted(tuple(own.types), tuple(own.grants))
        if event.type in types.own or event.type in types.wide:
            _append(batch, own, event)
    for other in batch.wide or ():
        if other is own or event.type not in wanted(tuple(other.types), tuple(other.grants)).wide:
            continue
        if isinstance(event, EarlyFact) or is_open(event.data, other.grants):
            _append(batch, other, event)


def _append(
    batch: NotificationsBatch, subscription: Subscription, event: Event[Any] | EarlyFact
) -> None:
    if subscription.epochs[-1][0] != batch.epoch:
        subscription.epochs = [*subscription.epochs, [batch.epoch, subscription.last_position]]
    subscription.last_position += 1
    batch.append(
        FeedEntry,
        subscription_id=subscription.id,
        position=subscription.last_position,
        event_id=event.event_id,
        type=event.type,
        subject=event.subject,
        body=event.body,
        entered_at=clock.now(),
    )


def _hold(batch: NotificationsBatch, order_id: UUID, event: Event[Any]) -> None:
    batch.append(
        EarlyFact,
        order_id=order_id,
        event_id=event.event_id,
        type=event.type,
        subject=event.subject,
        body=event.body,
        arrived_at=clock.now(),
    )
