"""The base of catalog's tables, and what their columns share."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, CheckConstraint, MetaData, Text
from sqlalchemy.orm import DeclarativeBase

from shared.runtime.tables import NAMING, UtcDateTime


class Base(DeclarativeBase):
    """Base of catalog's tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime(),
        int: BigInteger(),
        str: Text(),
        dict[str, str]: JSON(),
        dict[str, int]: JSON(),
        list[str]: JSON(),
        list[dict[str, Any]]: JSON(),
    }


def one_of(column: str, values: Any) -> CheckConstraint:
    """Return the constraint that `column` has one of `values`."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)
