"""Queue what somebody is to be told because of one event: once, however often it is handled."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.notifications.models import Message
from services.notifications.rules import TEMPLATES
from services.notifications.use_cases.contacts import enterprise_key, order_key
from shared.runtime import clock, tracing
from shared.runtime.ids import new_id


def know_told(session: Session, cause_ids: Iterable[UUID]) -> None:
    """Find out in one statement which messages exist because of these events.

    Usually none: the inbox lets an event in once. But an event may outlive its inbox row (a
    backup is restored, the feed is replayed), and nobody may be told twice.
    """
    told: dict[UUID, set[tuple[str, str]]] = session.info.setdefault("told", {})
    new = {cause_id for cause_id in cause_ids if cause_id not in told}
    if not new:
        return
    told.update({cause_id: set() for cause_id in new})
    statement = select(Message.cause_id, Message.recipient, Message.template)
    for cause_id, recipient, template in session.execute(
        statement.where(Message.cause_id.in_(new))
    ):
        told[cause_id].add((recipient, template))


def tell_buyer(
    session: Session,
    template: str,
    *,
    cause_id: UUID,
    happened_at: datetime,
    order_id: UUID,
    person: str | None,
    **facts: Any,
) -> None:
    """Queue a message to whoever ordered; `person` None: not known yet, found when sending."""
    _queue(
        session,
        template,
        cause_id=cause_id,
        happened_at=happened_at,
        order_id=order_id,
        recipient=order_key(order_id),
        person=person,
        facts=facts,
    )


def tell_producers(
    session: Session,
    template: str,
    *,
    cause_id: UUID,
    happened_at: datetime,
    order_id: UUID,
    sales: Iterable[Mapping[str, Any]],
) -> None:
    """Queue a message to each producer of `sales` (`{producer_id, variant_id, quantity}`)."""
    shares: defaultdict[str, list[list[Any]]] = defaultdict(list)
    for sale in sales:
        shares[sale["producer_id"]].append([sale["variant_id"], sale["quantity"]])
    for producer_id, lines in sorted(shares.items()):
        key = enterprise_key(producer_id)
        _queue(
            session,
            template,
            cause_id=cause_id,
            happened_at=happened_at,
            order_id=order_id,
            recipient=key,
            person=key,
            facts={"lines": lines},
        )


def sales_of(lines: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return who sold how much of what, from lines with the lots taken for them."""
    sums: defaultdict[tuple[str, str], int] = defaultdict(int)
    for line in lines:
        for lot in line["lots"]:
            sums[str(lot["producer_id"]), str(line["variant_id"])] += lot["quantity"]
    return [
        {"producer_id": producer_id, "variant_id": variant_id, "quantity": quantity}
        for (producer_id, variant_id), quantity in sums.items()
    ]


def sales_beyond(
    sales: Iterable[Mapping[str, Any]], others: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return what is in `sales` and not in `others`, by producer and variant."""
    rest: defaultdict[tuple[str, str], int] = defaultdict(int)
    for each, sign in ((sales, 1), (others, -1)):
        for sale in each:
            rest[sale["producer_id"], sale["variant_id"]] += sign * sale["quantity"]
    return [
        {"producer_id": producer_id, "variant_id": variant_id, "quantity": quantity}
        for (producer_id, variant_id), quantity in rest.items()
        if quantity > 0
    ]


def _queue(
    session: Session,
    template: str,
    *,
    cause_id: UUID,
    happened_at: datetime,
    order_id: UUID,
    recipient: str,
    person: str | None,
    facts: dict[str, Any],
) -> None:
    know_told(session, (cause_id,))
    told: set[tuple[str, str]] = session.info["told"][cause_id]
    if (recipient, template) in told:
        return
    told.add((recipient, template))
    moment = clock.now()
    direct = TEMPLATES[template].direct
    if tracing.exporting() and direct:
        # Beside the facts, not in a column: only the sender's span asks for it.
        facts = {**facts, "traceparent": tracing.get_or_new().traceparent}
    message = Message(
        id=new_id(),
        cause_id=cause_id,
        recipient=recipient,
        template=template,
        person=person,
        order_id=order_id,
        facts=facts,
        status="queued" if direct else "sent",
        happened_at=happened_at,
        due_at=moment if direct else None,
        sent_at=None if direct else moment,
        attempts=0,
        taken_by=[],
    )
    if direct:
        session.add(message)
        return
    # It is in the inbox with this transaction: there is nothing left to hand over.
    with tracing.span(
        "notifications", f"message {template}", "producer", {"message_id": str(message.id)}
    ):
        session.add(message)
