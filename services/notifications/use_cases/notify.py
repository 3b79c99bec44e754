"""Queue the messages that one event causes: each once, however often the event is handled."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from services.notifications.batch import NotificationsBatch
from services.notifications.models import Message, OrderReadModel
from services.notifications.rules import TEMPLATES
from services.notifications.use_cases.contacts import enterprise_key, order_key
from shared.events.placing import ConfirmedLine
from shared.events.travel import ShippedLine
from shared.messaging.envelope import Event
from shared.runtime import clock, tracing
from shared.runtime.ids import new_id


class Cause(NamedTuple):
    """The event because of which somebody is notified."""

    event_id: UUID
    happened_at: datetime

    @classmethod
    def of(cls, event: Event[Any]) -> "Cause":
        """Return an event as a cause."""
        return cls(event.event_id, event.time)


def notify_buyer(
    batch: NotificationsBatch, cause: Cause, order: OrderReadModel, template: str, **facts: Any
) -> None:
    """Queue a message to the buyer of an order; its text mentions `facts`.

    If the buyer is not known yet, the sender looks up later who it is.
    """
    recipient = order_key(order.order_id)
    _queue(batch, cause, order.order_id, template, recipient, order.person, facts)


def notify_producers(
    batch: NotificationsBatch,
    cause: Cause,
    order: OrderReadModel,
    template: str,
    sales: Iterable[Mapping[str, Any]],
) -> None:
    """Queue a message to each producer of `sales` (`{producer_id, variant_id, quantity}`)."""
    shares: defaultdict[str, list[list[Any]]] = defaultdict(list)
    for sale in sales:
        shares[sale["producer_id"]].append([sale["variant_id"], sale["quantity"]])
    for producer_id, lines in sorted(shares.items()):
        key = enterprise_key(producer_id)
        _queue(batch, cause, order.order_id, template, key, key, {"lines": lines})


def sales_of(lines: Iterable[ConfirmedLine | ShippedLine]) -> list[dict[str, Any]]:
    """Return the sales by producer and variant, from lines with their lots."""
    sums: defaultdict[tuple[str, str], int] = defaultdict(int)
    for line in lines:
        for lot in line.lots:
            sums[str(lot.producer_id), str(line.variant_id)] += lot.quantity
    return [
        {"producer_id": producer_id, "variant_id": variant_id, "quantity": quantity}
        for (producer_id, variant_id), quantity in sums.items()
    ]


def sales_beyond(
    sales: Iterable[Mapping[str, Any]], others: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the sales that are in `sales` and not in `others`, by producer and variant."""
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
    batch: NotificationsBatch,
    cause: Cause,
    order_id: UUID,
    template: str,
    recipient: str,
    person: str | None,
    facts: dict[str, Any],
) -> None:
    batch.load_messages([cause.event_id])
    existing = batch.messages[cause.event_id]
    if (recipient, template) in existing:
        return
    existing.add((recipient, template))
    moment = clock.now()
    direct = TEMPLATES[template].direct
    if tracing.exporting() and direct:
        # Beside the facts, not in a column: only the sender's span asks for it.
        facts = {**facts, "traceparent": tracing.get_or_new().traceparent}
    message = Message(
        id=new_id(),
        cause_id=cause.event_id,
        recipient=recipient,
        template=template,
        person=person,
        order_id=order_id,
        facts=facts,
        status="queued" if direct else "sent",
        happened_at=cause.happened_at,
        due_at=moment if direct else None,
        sent_at=None if direct else moment,
        attempts=0,
        taken_by=[],
    )
    if direct:
        batch.session.add(message)
        return
    # It is in the inbox with this transaction: there is nothing left to hand over.
    with tracing.span(
        "notifications", f"message {template}", "producer", {"message_id": str(message.id)}
    ):
        batch.session.add(message)
