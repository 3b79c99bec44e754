"""What notifications does: keep copies, queue messages, send them, show them, forget people."""

from services.notifications.use_cases.claim import claim_messages
from services.notifications.use_cases.contacts import (
    enterprise_key,
    erase_contacts,
    erase_tallies,
    keep_contact,
    order_key,
)
from services.notifications.use_cases.copies import keep_product, keep_site, order_copy
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
from services.notifications.use_cases.outgoing import Outgoing
from services.notifications.use_cases.preferences import read_preferences, set_preferences
from services.notifications.use_cases.record import record_attempts
from services.notifications.use_cases.tell import (
    know_told,
    sales_beyond,
    sales_of,
    tell_buyer,
    tell_producers,
)
from services.notifications.use_cases.verified import (
    erase_verified,
    lock_for_verification,
    verify_phone,
)
from services.notifications.use_cases.verify import compare, order_facts

__all__ = [
    "InboxMessage",
    "MessageNotFound",
    "Outgoing",
    "claim_messages",
    "compare",
    "enterprise_key",
    "erase_contacts",
    "erase_tallies",
    "erase_verified",
    "keep_contact",
    "keep_product",
    "keep_site",
    "know_told",
    "list_inbox",
    "list_messages",
    "lock_for_verification",
    "mark_read",
    "messages_of",
    "order_copy",
    "order_facts",
    "order_key",
    "read_message",
    "read_preferences",
    "record_attempts",
    "sales_beyond",
    "sales_of",
    "set_preferences",
    "shown",
    "tell_buyer",
    "tell_producers",
    "verify_phone",
]
