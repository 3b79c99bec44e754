"""Check that notifications' own rows agree, and list what it knows of each order."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from services.notifications.models import FeedEntry, Message, OrderReadModel, Subscription
from services.notifications.rules.messages import OPEN
from services.notifications.use_cases.contacts import enterprise_key, order_key
from shared.runtime.verify import Difference, FactKind, Report, read_snapshot, stream

#: Orders looked at by one statement: memory must not grow with their number.
AT_ONCE = 1000


class Notice(NamedTuple):
    """A kind of message and its recipient."""

    template: str
    recipient: str


def compare(session: Session) -> Report:
    """Return messages in impossible states, those that confirmed orders lack, and feeds' gaps."""
    read_snapshot(session)
    checked = {"messages": _count(session), "orders": 0, "feeds": 0}
    report = Report("notifications", checked)
    report.add(_wrong_states(session))
    report.add(_missing_messages(session, report))
    report.add(_feeds_with_gaps(session, report))
    return report


def _state(order: OrderReadModel) -> str:
    if order.sales is not None:
        return "confirmed"
    return "placed" if order.person is not None else "heard_of"


def _count(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(Message)) or 0


def _wrong_states(session: Session) -> Iterator[Difference]:
    """Find open messages without a due time, ended ones with one, and sent ones without a time."""
    is_open, waits = Message.status.in_(OPEN), Message.due_at.is_not(None)
    is_sent, has_time = Message.status == "sent", Message.sent_at.is_not(None)
    wrong = or_(and_(is_open, ~waits), and_(~is_open, waits), and_(is_sent, ~has_time))
    for row in stream(session, select(Message).where(wrong).order_by(Message.id)).scalars():
        yield Difference(
            "message_state",
            {"message_id": row.id, "order_id": row.order_id},
            "something to wait for" if row.status in OPEN else "an end, and its time",
            "nothing" if row.due_at is None else "something to wait for",
            f"Message {row.template} of order {row.order_id} is {row.status}, "
            f"due {row.due_at}, sent {row.sent_at}: these do not fit.",
        )


def _missing_messages(session: Session, report: Report) -> Iterator[Difference]:
    for orders in _orders(session):
        report.checked["orders"] += len(orders)
        notices = _notices(session, [order.order_id for order in orders])
        for order in orders:
            yield from _missing(order, notices[order.order_id])


def _feeds_with_gaps(session: Session, report: Report) -> Iterator[Difference]:
    """Find feeds that lack a position between the newest pruned and the newest one."""
    counted = (
        select(
            Subscription.partner,
            (Subscription.last_position - Subscription.pruned_position).label("wanted"),
            func.count(FeedEntry.position).label("found"),
            func.coalesce(func.max(FeedEntry.position), Subscription.pruned_position).label("last"),
            Subscription.last_position,
        )
        .outerjoin(FeedEntry, FeedEntry.subscription_id == Subscription.id)
        .group_by(Subscription.id)
        .order_by(Subscription.partner)
    )
    for row in stream(session, counted):
        report.checked["feeds"] += 1
        if (row.wanted, row.last_position) != (row.found, row.last):
            yield Difference(
                "feed_gap",
                {"partner": row.partner},
                f"{row.wanted} events up to {row.last_position}",
                f"{row.found} events up to {row.last}",
                f"The feed of {row.partner} lacks events.",
            )


def _orders(session: Session) -> Iterator[Sequence[OrderReadModel]]:
    last: UUID | None = None
    while True:
        statement = select(OrderReadModel).order_by(OrderReadModel.order_id).limit(AT_ONCE)
        if last is not None:
            statement = statement.where(OrderReadModel.order_id > last)
        orders = session.scalars(statement).all()
        if not orders:
            return
        yield orders
        last = orders[-1].order_id
        session.expunge_all()


def _notices(session: Session, order_ids: Sequence[UUID]) -> dict[UUID, set[Notice]]:
    notices: dict[UUID, set[Notice]] = defaultdict(set)
    rows = session.execute(
        select(Message.order_id, Message.template, Message.recipient).where(
            Message.order_id.in_(order_ids)
        )
    )
    for order_id, template, recipient in rows:
        notices[order_id].add(Notice(template, recipient))
    return notices


def _missing(order: OrderReadModel, notices: set[Notice]) -> list[Difference]:
    """Return the messages to buyer and producers that a confirmed order should have and lacks."""
    if order.sales is None:
        return []
    producers = {enterprise_key(sale["producer_id"]) for sale in order.sales}
    wanted = {
        Notice("order_confirmed", order_key(order.order_id)),
        *(Notice("goods_sold", producer) for producer in producers),
    }
    return [
        Difference(
            "order_untold",
            {"order_id": order.order_id},
            f"{missing.template} to {missing.recipient}",
            "no such message",
            f"Order {order.order_ref} was confirmed, and {missing.recipient} was not told.",
        )
        for missing in sorted(wanted - notices)
    ]


def order_values(session: Session, orders: Sequence[OrderReadModel]) -> Iterator[Mapping[str, Any]]:
    """Go through orders: the state of each, and the kinds of messages that its buyer was sent.

    `state` is `confirmed`, `placed`, or `heard_of` when other facts came first.
    """
    notices = _notices(session, [order.order_id for order in orders])
    for order in orders:
        buyer = order_key(order.order_id)
        templates = {each.template for each in notices[order.order_id] if each.recipient == buyer}
        yield {"state": _state(order), "told": sorted(templates)}


#: The facts of notifications, by their kind in the HTTP API.
FACTS: Mapping[str, FactKind[Any]] = {
    "orders": FactKind(select(OrderReadModel), OrderReadModel.order_id, order_values)
}
