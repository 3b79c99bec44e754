"""What notifications does: keep read models, queue, send and show messages, erase contacts."""

from services.notifications.use_cases.claim import claim_messages
from services.notifications.use_cases.contacts import (
    enterprise_key,
    erase_contacts,
    erase_tallies,
    keep_contact,
    order_key,
)
from services.notifications.use_cases.find import (
    list_inbox,
    list_messages,
    messages_of,
    read_message,
)
from services.notifications.use_cases.inbox import (
    InboxMessage,
    MessageNotFound,
    mark_read,
    shown,
)
from services.notifications.use_cases.notify import (
    Cause,
    notify_buyer,
    notify_producers,
    sales_beyond,
    sales_of,
)
from services.notifications.use_cases.outgoing import Outgoing
from services.notifications.use_cases.preferences import read_preferences, set_preferences
from services.notifications.use_cases.read_models import copy_site, copy_variants, get_or_new_order
from services.notifications.use_cases.record import record_attempts
from services.notifications.use_cases.verified import (
    erase_verified,
    load_code_phones,
    verify_phone,
)
from services.notifications.use_cases.verify import FACTS, compare

__all__ = [
    "FACTS",
    "Cause",
    "InboxMessage",
    "MessageNotFound",
    "Outgoing",
    "claim_messages",
    "compare",
    "copy_site",
    "copy_variants",
    "enterprise_key",
    "erase_contacts",
    "erase_tallies",
    "erase_verified",
    "get_or_new_order",
    "keep_contact",
    "list_inbox",
    "list_messages",
    "load_code_phones",
    "mark_read",
    "messages_of",
    "notify_buyer",
    "notify_producers",
    "order_key",
    "read_message",
    "read_preferences",
    "record_attempts",
    "sales_beyond",
    "sales_of",
    "set_preferences",
    "shown",
    "verify_phone",
]
