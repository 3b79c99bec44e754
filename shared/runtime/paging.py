"""Keyset pagination: a cursor names a page's last row, so new or deleted rows shift nothing.

flask-smorest's pages have numbers, so their rows shift. A bookmark of sqlakeyset is bound to no
list; here a cursor of another list, or a changed one, is refused.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from shared.runtime.errors import Unprocessable
from shared.runtime.schemas import LEAST, MOST

T = TypeVar("T")

#: Rows of one page: by default, and at most.
USUAL, LARGEST = 50, 200
#: Characters of a cursor at most.
LONGEST_CURSOR = 400
_CHECK_BYTES = 6


class MalformedCursor(Unprocessable):
    """Raised when a cursor does not belong to this list."""


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows of a list, and the cursor of the next page (None: this is the last page)."""

    items: Sequence[T]
    next: str | None


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
    if cursor is not None:
        after = _decode(cursor, column, descending)
        statement = statement.where(column < after if descending else column > after)
    statement = statement.order_by(column.desc() if descending else column).limit(limit + 1)
    rows = session.scalars(statement).all()
    more = len(rows) > limit
    items = rows[:limit]
    last = getattr(items[-1], column.key) if more else None
    return Page(items, _encode(last, column, descending) if more else None)


def _check(value: bytes, column: InstrumentedAttribute[Any], descending: bool) -> bytes:
    """Return a checksum that binds a cursor to its list; it detects mistakes and is no secret."""
    key = f"{column.class_.__name__}.{column.key} {descending}".encode()
    return hashlib.blake2b(value, digest_size=_CHECK_BYTES, key=key[:64]).digest()


def _encode(last: Any, column: InstrumentedAttribute[Any], descending: bool) -> str:
    value = str(last).encode()
    raw = _check(value, column, descending) + value
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(cursor: str, column: InstrumentedAttribute[Any], descending: bool) -> Any:
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        check, value = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
        if check != _check(value, column, descending):
            raise ValueError("another list's cursor, or a changed one")
        kind = column.type.python_type
        text = value.decode()
        if kind is UUID:
            return UUID(text)
        if kind is int and not LEAST <= int(text) <= MOST:
            raise ValueError("out of range")
        return kind(text)
    except ValueError as error:
        raise MalformedCursor(
            "This cursor does not belong to this list; leave it out to begin at the first page."
        ) from error
