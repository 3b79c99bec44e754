"""The base of catalog's tables, and what their columns share."""

from typing import Any, ClassVar

from sqlalchemy import CheckConstraint, MetaData
from sqlalchemy.orm import DeclarativeBase

from shared.runtime.tables import COLUMN_TYPES, NAMING


class Base(DeclarativeBase):
    """Base of catalog's tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = COLUMN_TYPES


def one_of(column: str, values: Any) -> CheckConstraint:
    """Return the constraint that `column` has one of `values`."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)
