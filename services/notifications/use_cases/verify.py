"""Check that notifications' own rows agree, and list what it knows of each order."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from services.notifications.models import Message, OrderReadModel
from services.notifications.rules import OPEN
from services.notifications.use_cases.contacts import enterprise_key, order_key
from shared.runtime.paging import Page, page
from shared.runtime.verify import MOST_DIFFERENCES, Difference, Fact, Report, read_snapshot

#: Orders looked at by one statement: memory must not grow with their number.
AT_ONCE = 1000


class Notice(NamedTuple):
    """A kind of message and its recipient."""

    template: str
    recipient: str


def compare(session: Session) -> Report:
    """Return the messages in impossible states, and those that confirmed orders lack."""
    read_snapshot(session)
    report = Report("notifications", {"messages": _count(session), "orders": 0})
    report.differences += _wrong_states(session)
    for orders in _orders(session):
        report.checked["orders"] += len(orders)
        notices = _notices(session, [order.order_id for order in orders])
        for order in orders:
            report.differences += _missing(order, notices[order.order_id])
    cut = len(report.differences) - MOST_DIFFERENCES
    if cut > 0:
        del report.differences[MOST_DIFFERENCES:]
        report.notes.append(f"{cut} more differences of orders are not listed.")
    return report


def order_facts(
    session: Session, ids: Sequence[UUID], *, limit: int, cursor: str | None = None
) -> Page[Fact]:
    """Return what notifications knows of orders, and what their buyers were told.

    `state` is `confirmed`, `placed`, or `heard_of` when other facts came first.
    """
    statement = select(OrderReadModel)
    if ids:
        statement = statement.where(OrderReadModel.order_id.in_(ids))
    found = page(session, statement, OrderReadModel.order_id, limit=limit, cursor=cursor)
    notices = _notices(session, [order.order_id for order in found.items])
    facts = []
    for order in found.items:
        buyer = order_key(order.order_id)
        templates = {each.template for each in notices[order.order_id] if each.recipient == buyer}
        facts.append(Fact(order.order_id, {"state": _state(order), "told": sorted(templates)}))
    return Page(facts, found.next)


def _state(order: OrderReadModel) -> str:
    if order.sales is not None:
        return "confirmed"
    return "placed" if order.person is not None else "heard_of"


def _count(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(Message)) or 0


def _wrong_states(session: Session) -> list[Difference]:
    """Return open messages without a due time, ended ones with one, sent ones without a time."""
    is_open, waits = Message.status.in_(OPEN), Message.due_at.is_not(None)
    is_sent, has_time = Message.status == "sent", Message.sent_at.is_not(None)
    wrong = or_(and_(is_open, ~waits), and_(~is_open, waits), and_(is_sent, ~has_time))
    rows = session.scalars(
        select(Message).where(wrong).order_by(Message.id).limit(MOST_DIFFERENCES)
    )
    return [
        Difference(
            "message_state",
            {"message_id": str(row.id), "order_id": str(row.order_id)},
            "something to wait for" if row.status in OPEN else "an end, and its time",
            "nothing" if row.due_at is None else "something to wait for",
            f"Message {row.template} of order {row.order_id} is {row.status}, "
            f"due {row.due_at}, sent {row.sent_at}: these do not fit.",
        )
        for row in rows
    ]


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
            {"order_id": str(order.order_id)},
            f"{missing.template} to {missing.recipient}",
            "no such message",
            f"Order {order.order_ref} was confirmed, and {missing.recipient} was not told.",
        )
        for missing in sorted(wanted - notices)
    ]
