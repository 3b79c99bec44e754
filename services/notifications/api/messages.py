"""Notifications over HTTP: one's own inbox and preferences, and every message for operators."""

import re
from typing import Any
from uuid import UUID

from services.notifications import use_cases
from services.notifications.batch import NotificationsBatch
from services.notifications.models import Message
from services.notifications.rules.messages import Preferences, clock_time, minute_of
from services.notifications.schemas.messages import (
    PERSON,
    InboxMessageResponse,
    InboxPage,
    ListInboxRequest,
    ListMessagesRequest,
    MessagePage,
    MessageWithTriesResponse,
    PreferencesRequest,
    PreferencesResponse,
)
from shared.runtime.errors import NotFound
from shared.runtime.paging import Page
from shared.runtime.verify import Fact, Report, page_of_facts
from shared.web import Blueprint, caller, idempotent, reading, scope, transaction
from shared.web.trace import TraceRequest, TraceResponse, facts
from shared.web.verify import FactPage, VerifyResponse, facts_request

blp = Blueprint(
    "notifications",
    __name__,
    url_prefix="/api/notifications/v1",
    description="Messages about orders and sales, and the preferences of the people who get them.",
)

#: How the document explains whose preferences a path names.
PERSON_IN_PATH = {
    "in": "path",
    "name": "person",
    "description": "`buyer:<id>`, `enterprise:<id>`, or `order:<order id>` for a guest.",
    "schema": {"type": "string", "pattern": f"^{PERSON}$"},
    "example": "buyer:dolma",
}


class PersonNotFound(NotFound):
    """Raised when a path names nobody that could have preferences, or somebody else."""


@blp.get("/messages")
@scope("messages:operate")
@blp.arguments(ListMessagesRequest, location="query")
@blp.response(200, MessagePage)
def list_messages(query: dict[str, Any]) -> Page[Message]:
    """List messages, newest first.

    Filter them by order, recipient or status. Only its recipient can read the text of a message.
    """
    with reading() as session:
        return use_cases.list_messages(session, **query)


@blp.get("/messages/<uuid:message_id>")
@scope("messages:operate")
@blp.response(200, MessageWithTriesResponse)
def get_message(message_id: UUID) -> Message:
    """Show one message with every attempt to send it."""
    with reading() as session:
        return use_cases.read_message(session, message_id)


@blp.get("/inbox")
@scope("messages:read")
@blp.arguments(ListInboxRequest, location="query")
@blp.response(200, InboxPage)
def list_inbox(query: dict[str, Any]) -> Page[use_cases.InboxMessage]:
    """List one's own messages, newest first.

    The person is the token's subject: a buyer's id, or `enterprise:<id>` for a producer.
    """
    with reading() as session:
        return use_cases.list_inbox(session, _own_person(), **query)


@blp.post("/inbox/<uuid:message_id>/read")
@scope("messages:read")
@idempotent
@blp.response(200, InboxMessageResponse)
def read_message(message_id: UUID) -> use_cases.InboxMessage:
    """Record that one of one's own messages was read.

    Only the first call counts; later ones get the same answer.
    """
    with transaction(NotificationsBatch) as batch:
        return use_cases.mark_read(batch, message_id, _own_person())


@blp.get("/preferences/<string:person>", parameters=[PERSON_IN_PATH])
@scope("messages:read")
@blp.response(200, PreferencesResponse)
def get_preferences(person: str) -> dict[str, Any]:
    """Show a person's preferences.

    One's own, or anybody's with the scope `messages:operate`.
    """
    _check_person(person)
    with reading() as session:
        return _preferences(person, use_cases.read_preferences(session, person))


@blp.put("/preferences/<string:person>", parameters=[PERSON_IN_PATH])
@scope("messages:read")
@blp.arguments(PreferencesRequest)
@blp.response(200, PreferencesResponse)
def put_preferences(preferences_in: dict[str, Any], person: str) -> dict[str, Any]:
    """Replace a person's preferences.

    They also apply to messages that are already queued.
    """
    _check_person(person)
    preferences = Preferences(
        language=preferences_in["language"],
        quiet_from=minute_of(preferences_in["quiet_from"]),
        quiet_to=minute_of(preferences_in["quiet_to"]),
        channels=tuple(dict.fromkeys(preferences_in["channels"])),
        daily_cap=preferences_in["daily_cap"],
    )
    with transaction(NotificationsBatch) as batch:
        return _preferences(person, use_cases.set_preferences(batch, person, preferences))


@blp.get("/trace/<uuid:order_id>")
@scope("operate")
@blp.arguments(TraceRequest, location="query")
@blp.response(200, TraceResponse)
def trace_order(query: dict[str, Any], order_id: UUID) -> dict[str, Any]:
    """Show an order's messages, what they wait for, and the order's events in notifications."""
    with reading() as session:
        messages = use_cases.messages_of(session, order_id)
        return {
            "service": "notifications",
            "state": {f"{m.template} to {m.recipient}": m.status for m in messages},
            "waiting_for": [
                {
                    "what": f"message {m.template}: {m.reason or m.status}",
                    "since": m.happened_at,
                }
                for m in messages
                if m.due_at is not None
            ],
            **facts(session, [f"order/{order_id}", *query["subject"]]),
        }


@blp.get("/verify")
@scope("operate")
@blp.response(200, VerifyResponse)
def compare_messages() -> Report:
    """Compare messages with the orders they are about.

    Every message is due at some time or has ended, and buyer and producers of every confirmed
    order have a message. The comparison reads all rows from one snapshot. At most 200 differences
    of each check are listed.
    """
    with reading() as session:
        return use_cases.compare(session)


@blp.get("/verify/facts")
@scope("operate")
@blp.arguments(facts_request(use_cases.FACTS), location="query")
@blp.response(200, FactPage)
def list_facts(query: dict[str, Any]) -> Page[Fact]:
    """List the state of orders in notifications, by order id, to compare with other services.

    `orders`: each has `state` (`confirmed`, `placed`, or `heard_of` when other facts came
    first) and `told`, the kinds of messages its buyer was sent.
    """
    with reading() as session:
        return page_of_facts(session, use_cases.FACTS, **query)


def _own_person() -> str:
    """Return the person behind the token."""
    subject = caller().subject
    return subject if subject.startswith("enterprise:") else f"buyer:{subject}"


def _check_person(person: str) -> None:
    """Raise unless the path names a person, and the caller may ask for it."""
    own = person == _own_person() or caller().may("messages:operate")
    if not (own and re.fullmatch(PERSON, person)):
        raise PersonNotFound(
            "There is no such person, or their wishes are not yours to see. A person is "
            "buyer:<id>, enterprise:<id> or order:<order id>."
        )


def _preferences(person: str, preferences: Preferences) -> dict[str, Any]:
    return {
        "person": person,
        "language": preferences.language,
        "quiet_from": clock_time(preferences.quiet_from),
        "quiet_to": clock_time(preferences.quiet_to),
        "channels": list(preferences.channels),
        "daily_cap": preferences.daily_cap,
    }
