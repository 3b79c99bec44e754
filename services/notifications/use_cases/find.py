"""Find messages: all of them for operators, one's own for people."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session, selectinload

from services.notifications.models import NOT_SENT, Message
from services.notifications.use_cases.inbox import InboxMessage, MessageNotFound, shown
from shared.runtime.paging import Page, filtered, page


def list_messages(
    session: Session,
    *,
    limit: int,
    cursor: str | None = None,
    order_id: UUID | None = None,
    recipient: str | None = None,
    status: str | None = None,
) -> Page[Message]:
    """Return messages, newest first, by order, person or state."""
    statement = filtered(
        select(Message),
        {Message.order_id: order_id, Message.person: recipient, Message.status: status},
    )
    if status not in (None, "sent"):
        statement = statement.where(text(NOT_SENT))
    return page(session, statement, Message.id, cursor=cursor, limit=limit, descending=True)


def read_message(session: Session, message_id: UUID) -> Message:
    """Return a message with its attempts, first to last.

    Raises:
        MessageNotFound: there is none with this id.
    """
    message = session.get(Message, message_id, options=[selectinload(Message.recorded_tries)])
    if message is None:
        raise MessageNotFound("There is no message with this id.")
    return message


def list_inbox(
    session: Session,
    person: str,
    *,
    limit: int,
    cursor: str | None = None,
    unread: bool = False,
    language: str | None = None,
) -> Page[InboxMessage]:
    """Return a person's messages with their texts, newest first."""
    statement = select(Message).where(Message.person == person)
    if unread:
        statement = statement.where(Message.read_at.is_(None))
    found = page(session, statement, Message.id, cursor=cursor, limit=limit, descending=True)
    return Page(shown(session, found.items, language), found.next)


def messages_of(session: Session, order_id: UUID) -> Sequence[Message]:
    """Return every message about an order, first to last."""
    return session.scalars(
        select(Message).where(Message.order_id == order_id).order_by(Message.id)
    ).all()
