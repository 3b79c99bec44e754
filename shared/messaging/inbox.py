"""The inbox: it drops events that already took effect, in the transaction of the effect."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import Table
from sqlalchemy.orm import Session

from shared.messaging.envelope import Envelope
from shared.messaging.tables import Inbox
from shared.runtime.bulk import insert_new
from shared.runtime.clock import now

#: The advisory lock under which events take effect, one batch at a time.
CONSUMER = "consumer"


def take(session: Session, events: Iterable[Envelope]) -> set[UUID]:
    """Insert the events into the inbox and return the ids of the new ones.

    The same statement takes the lock of the service's consumers: one statement less a batch.
    """
    table = Inbox.__table__
    assert isinstance(table, Table)
    handled_at = now()
    rows = {
        event.event_id: {
            "event_id": event.event_id,
            "type": event.type,
            "subject": event.subject,
            "sequence": event.sequence,
            "recorded_at": event.time,
            "handled_at": handled_at,
        }
        for event in events
    }
    return insert_new(session.connection(), table, [*rows.values()], "event_id", lock=CONSUMER)
