"""Rows that a transaction has locked, by its session: for services that do not pass a batch yet."""

from collections.abc import Iterable
from typing import Any, TypeVar

from sqlalchemy.orm import InstrumentedAttribute, Session

from shared.messaging.batch import batch_of

T = TypeVar("T")


def lock_rows(
    session: Session, column: InstrumentedAttribute[T], values: Iterable[T], *options: Any
) -> None:
    """See `Batch.load_for_update`."""
    batch_of(session).load_for_update(column, values, *options)


def locked(session: Session, column: InstrumentedAttribute[T], value: T) -> Any | None:
    """See `Batch.get_for_update`."""
    return batch_of(session).get_for_update(column, value)


def remember(session: Session, column: InstrumentedAttribute[T], row: Any) -> None:
    """See `Batch.track`."""
    batch_of(session).track(column, row)
