"""A message that a sender has claimed."""

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from services.notifications.texts import Text


@dataclass(frozen=True)
class Outgoing:
    """One message as channels need it, and nothing else."""

    message_id: UUID
    #: 1 for the first attempt; from the second on a channel may have it already.
    attempt: int
    person: str
    phone: str | None
    template: str
    text: Text
    #: The channels that have not taken it yet.
    channels: tuple[str, ...]
    #: Calendar date of its cause, in Asia/Shanghai; the same at every attempt.
    day: date
    #: Of the transaction that queued it, where traces are exported.
    traceparent: str | None = None
    #: The channels that took it at an earlier attempt.
    taken_by: tuple[str, ...] = ()
