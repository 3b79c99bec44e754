"""Rows that a transaction reads often and does not change: sites and copies of variants.

Like `shared.messaging.rows`, but without a lock: whoever plans shipments must not make those wait
who report arrivals at the same sites.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute, Session


def read(session: Session, key: InstrumentedAttribute[UUID], values: Iterable[UUID]) -> None:
    """Load in one statement the rows whose `key` is in `values` and that are not known yet."""
    rows: dict[UUID, Any] = session.info.setdefault(("known", key.class_), {})
    wanted = sorted({value for value in values if value not in rows})
    if wanted:
        rows.update(dict.fromkeys(wanted))
        for row in session.scalars(select(key.class_).where(key.in_(wanted))):
            rows[getattr(row, key.key)] = row


def known(session: Session, key: InstrumentedAttribute[UUID], value: UUID) -> Any | None:
    """Return the row with this key, or None; needs no statement when it was read before."""
    read(session, key, (value,))
    return session.info["known", key.class_][value]
