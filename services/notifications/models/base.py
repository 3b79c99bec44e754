"""The base of notifications' own tables."""

from typing import Any, ClassVar

from sqlalchemy import MetaData, text
from sqlalchemy.orm import DeclarativeBase

from shared.runtime.tables import COLUMN_TYPES, NAMING


class Base(DeclarativeBase):
    """Base of notifications' own tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = COLUMN_TYPES


def where(condition: str) -> dict[str, Any]:
    """Return the arguments of an index that only has the rows of a condition."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}
