"""Webhooks: partners' endpoints, and the deliveries to them."""

from services.notifications.use_cases.webhooks.due import DueDelivery, load_due
from services.notifications.use_cases.webhooks.endpoints import (
    EndpointNotFound,
    change_endpoint,
    create_endpoint,
    delete_endpoint,
    list_endpoints,
    read_endpoint,
    record_shown_secret,
    resume_endpoint,
    rotate_secret,
    suspend_endpoint,
)
from services.notifications.use_cases.webhooks.log import list_deliveries, read_delivery
from services.notifications.use_cases.webhooks.prune import prune_deliveries
from services.notifications.use_cases.webhooks.read_ahead import (
    any_endpoint,
    load_unread,
    read_ahead,
)
from services.notifications.use_cases.webhooks.record import record_results
from services.notifications.use_cases.webhooks.resend import ping, resend_delivery, resend_range

__all__ = [
    "DueDelivery",
    "EndpointNotFound",
    "any_endpoint",
    "change_endpoint",
    "create_endpoint",
    "delete_endpoint",
    "list_deliveries",
    "list_endpoints",
    "load_due",
    "load_unread",
    "ping",
    "prune_deliveries",
    "read_ahead",
    "read_delivery",
    "read_endpoint",
    "record_results",
    "record_shown_secret",
    "resend_delivery",
    "resend_range",
    "resume_endpoint",
    "rotate_secret",
    "suspend_endpoint",
]
