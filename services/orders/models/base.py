"""The base of orders' own tables."""

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import BigInteger, Enum, MetaData, Text
from sqlalchemy.orm import DeclarativeBase

from shared.runtime.tables import NAMING, UtcDateTime


class Base(DeclarativeBase):
    """Base of orders' own tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime(),
        int: BigInteger(),
        str: Text(),
    }


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
