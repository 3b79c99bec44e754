"""Column types, and the tables of every service for idempotency keys and API keys.

The tables of events are in `shared.messaging.tables`.
"""

from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

#: Names of constraints; migrations need them to alter a constraint on both databases.
NAMING = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator[datetime]):
    """A moment: stored from an aware datetime, read in UTC, also on SQLite, which has no zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


#: A 64-bit serial; SQLite only auto-increments a column of type INTEGER.
Serial = BigInteger().with_variant(Integer(), "sqlite")


#: The column types of Python's types in the models of every service.
COLUMN_TYPES: dict[Any, Any] = {
    datetime: UtcDateTime(),
    int: BigInteger(),
    str: Text(),
    dict[str, Any]: JSON(),
    dict[str, int]: JSON(),
    dict[str, str]: JSON(),
    list[str]: JSON(),
    list[dict[str, Any]]: JSON(),
}


class SharedBase(DeclarativeBase):
    """The base of the shared tables; each service's migrations create them in its database."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = COLUMN_TYPES


class IdempotencyKey(SharedBase):
    """The stored answer to a POST with this key."""

    __tablename__ = "idempotency_keys"
    client: Mapped[str] = mapped_column(String(255), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    status: Mapped[int] = mapped_column(SmallInteger)
    #: Headers and body, encrypted.
    body: Mapped[bytes] = mapped_column(LargeBinary)
    answered_at: Mapped[datetime] = mapped_column(index=True)


class ApiKey(SharedBase):
    """A machine's API key with the digest of its secret; see `shared.runtime.api_keys`."""

    __tablename__ = "api_keys"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(String(255), index=True)
    digest: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[str]] = mapped_column(JSON)
    claims: Mapped[dict[str, str]] = mapped_column(JSON)
    #: The sequence of the last event of this key.
    sequence: Mapped[int]
