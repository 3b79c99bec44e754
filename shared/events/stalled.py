"""Something waits too long. Said once of each case, for operators.

`kind` names the way in which it is late, `since` the moment from which it waits. The relay's own
contracts come late by nature: they leave with the events that were stuck.
"""

from collections.abc import Mapping

from marshmallow import fields, validate

from shared.events.base import Event

#: An order waits for an operator. It has an event of its own: readers of the older one refuse kinds
#: that they do not know.
UNAPPROVED = "unapproved"
#: What counts as stalled, by service: the values of `kind`. Every service has its relay besides.
KINDS: Mapping[str, tuple[str, ...]] = {
    "catalog": (),
    "orders": ("undecided", "unexpired", "unplanned", "unstopped", UNAPPROVED),
    "logistics": ("undispatched", "unarrived", "untaken", "unreturned"),
    "notifications": ("unsent", "retrying"),
}
RELAY = "relay"


def kind_of(service: str) -> fields.String:
    """Return the required field for the ways in which a service's cases can be late."""
    kinds = [kind for kind in KINDS[service] if kind != UNAPPROVED]
    return fields.String(required=True, validate=validate.OneOf(kinds))


class OrderStalled(Event):
    """An order waits too long for the next step."""

    routing_key = "orders.order_stalled.v1"
    subject = "order_id"
    public = False
    feed_only = True

    order_id = fields.UUID(required=True)
    order_ref = fields.String(required=True)
    kind = kind_of("orders")
    since = fields.AwareDateTime(required=True)


class ApprovalStalled(Event):
    """An order beyond the limits waits too long for an operator's approval."""

    routing_key = "orders.approval_stalled.v1"
    subject = "order_id"
    public = False
    feed_only = True

    order_id = fields.UUID(required=True)
    order_ref = fields.String(required=True)
    since = fields.AwareDateTime(required=True)


class ShipmentStalled(Event):
    """A shipment did not go on in the time expected of it."""

    routing_key = "logistics.shipment_stalled.v1"
    subject = "shipment_id"
    public = False
    feed_only = True

    shipment_id = fields.UUID(required=True)
    shipment_ref = fields.String(required=True)
    order_id = fields.UUID(required=True)
    kind = kind_of("logistics")
    since = fields.AwareDateTime(required=True)


class MessageStalled(Event):
    """A message is queued and does not get out."""

    routing_key = "notifications.message_stalled.v1"
    subject = "message_id"
    public = False
    feed_only = True

    message_id = fields.UUID(required=True)
    template = fields.String(required=True)
    cause_id = fields.UUID(required=True)
    kind = kind_of("notifications")
    since = fields.AwareDateTime(required=True)


class _RelayStalled:
    subject = "event_id"
    public = False
    feed_only = True

    event_id = fields.UUID(required=True)
    since = fields.AwareDateTime(required=True)


class CatalogRelayStalled(_RelayStalled, Event):
    """Catalog's events did not reach the broker in time, from this one on."""

    routing_key = "catalog.relay_stalled.v1"


class OrdersRelayStalled(_RelayStalled, Event):
    """Orders' events did not reach the broker in time, from this one on."""

    routing_key = "orders.relay_stalled.v1"


class LogisticsRelayStalled(_RelayStalled, Event):
    """Logistics' events did not reach the broker in time, from this one on."""

    routing_key = "logistics.relay_stalled.v1"


class NotificationsRelayStalled(_RelayStalled, Event):
    """Notifications' events did not reach the broker in time, from this one on."""

    routing_key = "notifications.relay_stalled.v1"
