"""Queue the messages that an event causes; a redelivered event queues none again."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from services.notifications.batch import NotificationsBatch
from services.notifications.models import OrderReadModel
from services.notifications.rules.messages import TEMPLATES
from services.notifications.use_cases.contacts import enterprise_key, order_key
from shared.events.placing import ConfirmedLine
from shared.events.travel import ShippedLine
from shared.messaging.envelope import Event
from shared.runtime import clock, tracing
from shared.runtime.ids import new_id


class Cause(NamedTuple):
    """The event that causes a message."""

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

    If the buyer is not known yet, the sender looks the buyer up when the message is due.
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
    """Return the quantity that each producer sold of each variant, from lines with their lots."""
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
    """Return `sales` minus `others`, by producer and variant, where the rest is above 0."""
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
    message_id, moment = new_id(), clock.now()
    inbox_only = TEMPLATES[template].inbox_only
    if tracing.exporting() and not inbox_only:
        # Among the facts and not in a column, because only the sender's span reads it.
        facts = {**facts, "traceparent": tracing.get_or_new().traceparent}
    row = {
        "id": message_id,
        "cause_id": cause.event_id,
        "recipient": recipient,
        "template": template,
        "person": person,
        "order_id": order_id,
        "facts": facts,
        "status": "sent" if inbox_only else "queued",
        "happened_at": cause.happened_at,
        "due_at": None if inbox_only else moment,
        "sent_at": moment if inbox_only else None,
        "attempts": 0,
        "taken_by": [],
    }
    if not inbox_only:
        batch.messages.append(row)
        return
    # This transaction puts the message into the inbox, so no sender traces it later.
    with tracing.span(
        "notifications", f"message {template}", "producer", {"message_id": str(message_id)}
    ):
        batch.messages.append(row)
