"""The base of orders' own tables."""

from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import Enum, MetaData
from sqlalchemy.orm import DeclarativeBase

from shared.runtime.tables import COLUMN_TYPES, NAMING


class Base(DeclarativeBase):
    """Base of orders' own tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = COLUMN_TYPES


def one_of(kind: type[StrEnum], name: str) -> Enum:
    """Return the type of a column that holds one of `kind`'s values."""
    return Enum(
        kind,
        name=name,
        native_enum=False,
        create_constraint=True,
        length=20,
        values_callable=lambda members: [member.value for member in members],
    )
