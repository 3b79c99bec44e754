"""Identifiers: UUIDv7 for machines, short references for people."""

import secrets
from datetime import UTC, datetime
from uuid import UUID

from uuid_utils.compat import uuid7

#: No 0, 1, I, L, O: people read a reference aloud over bad telephone lines.
ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"


def new_id() -> UUID:
    """Return a new UUIDv7: unique, and sorted by its time of creation."""
    return uuid7()


def made_at(made: UUID) -> datetime:
    """Return the time of a UUIDv7's creation in UTC, to the millisecond, by its creator's clock."""
    return datetime.fromtimestamp((made.int >> 80) / 1000, UTC)


def new_reference(prefix: str) -> str:
    """Return a reference such as `ORD-7KQ2M9XH`: 8 random letters of 31 (8.5e11 values)."""
    number, letters = secrets.randbelow(len(ALPHABET) ** 8), ""
    for _ in range(8):
        number, place = divmod(number, len(ALPHABET))
        letters += ALPHABET[place]
    return f"{prefix}-{letters}"
