"""Keyset pagination: a cursor names a page's last row, so new or deleted rows shift nothing.

flask-smorest's pages have numbers, so their rows shift. A bookmark of sqlakeyset is bound to no
list; here a cursor of another list, or a changed one, is refused.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import Select, text, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from shared.runtime import clock
from shared.runtime.clock import rfc3339
from shared.runtime.errors import Unprocessable
from shared.runtime.schemas import LEAST, MOST

T = TypeVar("T")

#: Rows of one page: by default, and at most.
USUAL, LARGEST = 50, 200
#: Characters of a cursor at most.
LONGEST_CURSOR = 400
_CHECK_BYTES = 6
#: A change shows only after the commit, which may be this much later than its moment: requests and
#: handlers take up to 30 s, those of a suspended process up to 60 s more. Longer transactions are
#: looked up; the clocks of the servers may differ by as much.
LATE = timedelta(minutes=2)
_OLDEST_WRITER = text(
    "SELECT min(xact_start) FROM pg_stat_activity "
    "WHERE datname = current_database() AND backend_xid IS NOT NULL"
)


class MalformedCursor(Unprocessable):
    """Raised when a cursor does not belong to this list."""


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows of a list, and the cursor of the next page (None: this is the last page).

    `next_changed_since` is where the next reading of changes begins; None in other lists.
    """

    items: Sequence[T]
    next: str | None
    next_changed_since: datetime | None = None


def filtered(
    statement: Select[T], values: Mapping[InstrumentedAttribute[Any], object]
) -> Select[T]:
    """Return `statement` for the rows whose columns equal these values.

    A value of None is a filter that the request left out: the column may have any value.
    """
    given = (column == value for column, value in values.items() if value is not None)
    return statement.where(*given)


def page(
    session: Session,
    statement: Select[T],
    column: InstrumentedAttribute[Any],
    *,
    limit: int = USUAL,
    cursor: str | None = None,
    descending: bool = False,
) -> Page[T]:
    """Return one page of `statement`'s rows in the order of `column`, which must be unique.

    The rows must be objects of the column's model.

    Raises:
        MalformedCursor: the cursor does not belong to this list.
    """
    list_name = f"{column.class_.__name__}.{column.key} {descending}"
    if cursor is not None:
        after = _value_of(_decode(cursor, list_name), column)
        statement = statement.where(column < after if descending else column > after)
    statement = statement.order_by(column.desc() if descending else column).limit(limit + 1)
    rows = session.scalars(statement).all()
    more = len(rows) > limit
    items = rows[:limit]
    last = getattr(items[-1], column.key) if more else None
    return Page(items, _encode(str(last), list_name) if more else None)


def changes(
    session: Session,
    statement: Select[T],
    changed_at: InstrumentedAttribute[Any],
    key: InstrumentedAttribute[UUID],
    *,
    since: datetime,
    limit: int = USUAL,
    cursor: str | None = None,
) -> Page[T]:
    """Return one page of the rows that changed at `since` or later, the oldest change first.

    A reading, from its first page to its last, ends at the moment when it began: what changes
    meanwhile belongs to the next reading. That one begins at `next_changed_since`, which lies
    `LATE` before this one and every transaction that is open now: it finds the changes that were
    not committed yet. `changed_at` and `key` must be columns of one index.

    Raises:
        MalformedCursor: the cursor does not belong to this list.
    """
    list_name = f"{key.class_.__name__}.{changed_at.key} changes"
    if cursor is None:
        began = clock.now()
        next_since = _oldest_writer(session, began) - LATE
    else:
        began, next_since, *after = _position_of(_decode(cursor, list_name))
        statement = statement.where(tuple_(changed_at, key) > tuple_(*after))
    statement = statement.where(changed_at >= since, changed_at <= began)
    rows = session.scalars(statement.order_by(changed_at, key).limit(limit + 1)).all()
    following = None
    if len(rows) > limit:
        last = rows[limit - 1]
        moments = map(rfc3339, (began, next_since, getattr(last, changed_at.key)))
        following = _encode(" ".join([*moments, str(getattr(last, key.key))]), list_name)
    return Page(rows[:limit], following, next_since)


def _oldest_writer(session: Session, now: datetime) -> datetime:
    """Return when the oldest open transaction that writes began; `now` if there is none."""
    if session.get_bind().dialect.name != "postgresql":
        return now  # a writing transaction of SQLite lasts no longer than `LATE`
    begun: datetime | None = session.scalar(_OLDEST_WRITER)
    return now if begun is None else min(now, begun)


def _check(value: bytes, list_name: str) -> bytes:
    """Return a checksum that binds a cursor to its list; it detects mistakes and is no secret."""
    key = list_name.encode()[:64]
    return hashlib.blake2b(value, digest_size=_CHECK_BYTES, key=key).digest()


def _encode(position: str, list_name: str) -> str:
    value = position.encode()
    raw = _check(value, list_name) + value
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(cursor: str, list_name: str) -> str:
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        check, value = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
        if check != _check(value, list_name):
            raise ValueError("another list's cursor, or a changed one")
        return value.decode()
    except ValueError as error:
        raise _malformed() from error


def _value_of(position: str, column: InstrumentedAttribute[Any]) -> Any:
    kind = column.type.python_type
    try:
        if kind is UUID:
            return UUID(position)
        if kind is int and not LEAST <= int(position) <= MOST:
            raise ValueError("out of range")
        return kind(position)
    except ValueError as error:
        raise _malformed() from error


def _position_of(position: str) -> tuple[datetime, datetime, datetime, UUID]:
    try:
        *moments, key = position.split(" ")
        began, next_since, after = map(datetime.fromisoformat, moments)
        return began, next_since, after, UUID(key)
    except ValueError as error:
        raise _malformed() from error


def _malformed() -> MalformedCursor:
    return MalformedCursor(
        "This cursor does not belong to this list; leave it out to begin at the first page."
    )
