"""Catalog's tables. Every quantity is an integer in the variant's unit, every price integer fen."""

from datetime import date, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from services.catalog.rules import Bucket, LotStatus, ReservationStatus
from shared.clock import now
from shared.events import CHANNELS, SITE_LEVELS, UNITS
from shared.ids import new_id
from shared.tables import NAMING, UtcDateTime


class Base(DeclarativeBase):
    """Base of catalog's tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime(),
        int: BigInteger(),
        str: Text(),
        dict[str, str]: JSON(),
        list[str]: JSON(),
    }


def one_of(column: str, values: Any) -> CheckConstraint:
    """Return the constraint that `column` has one of `values`."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


class Enterprise(Base):
    """A farmer, cooperative or company that brings lots; how to reach it is kept elsewhere."""

    __tablename__ = "enterprises"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    code: Mapped[str] = mapped_column(unique=True)
    names: Mapped[dict[str, str]]
    roles: Mapped[list[str]]
    region_code: Mapped[str | None]
    licence_no: Mapped[str | None]
    status: Mapped[str] = mapped_column(String(10), default="active")
    version: Mapped[int] = mapped_column(default=0)
    memberships: Mapped[list["Membership"]] = relationship(
        foreign_keys="Membership.cooperative_id",
        order_by="Membership.id",
        lazy="selectin",
    )
    __table_args__ = (one_of("status", ("active", "closed")),)


class Membership(Base):
    """A producer shares in what a cooperative earns, from one day on."""

    __tablename__ = "memberships"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    cooperative_id: Mapped[UUID] = mapped_column(ForeignKey("enterprises.id"), index=True)
    member_id: Mapped[UUID] = mapped_column(ForeignKey("enterprises.id"), index=True)
    #: Basis points of what the cooperative splits.
    share_bp: Mapped[int]
    valid_from: Mapped[date]
    valid_to: Mapped[date | None]
    __table_args__ = (
        UniqueConstraint("cooperative_id", "member_id", "valid_from"),
        CheckConstraint("share_bp BETWEEN 1 AND 10000", name="share"),
        CheckConstraint("cooperative_id <> member_id", name="not_itself"),
    )


class Product(Base):
    """What is sold, with the ways in which it is (its variants)."""

    __tablename__ = "products"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    code: Mapped[str] = mapped_column(unique=True)
    names: Mapped[dict[str, str]]
    category: Mapped[str] = mapped_column(index=True)
    perishable: Mapped[bool]
    #: From harvest; None: it does not spoil.
    shelf_life_days: Mapped[int | None]
    #: Such as `0-4 C`; None: no cold needed.
    storage: Mapped[str | None]
    status: Mapped[str] = mapped_column(String(10), default="listed")
    version: Mapped[int] = mapped_column(default=0)
    variants: Mapped[list["Variant"]] = relationship(
        back_populates="product", order_by="Variant.id", lazy="selectin"
    )
    __table_args__ = (
        one_of("status", ("listed", "withdrawn")),
        CheckConstraint("shelf_life_days > 0", name="shelf_life"),
    )


class Variant(Base):
    """One way in which a product is sold: a grade, a pack, a unit."""

    __tablename__ = "variants"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    product_id: Mapped[UUID] = mapped_column(ForeignKey("products.id"), index=True)
    sku: Mapped[str] = mapped_column(unique=True)
    grade: Mapped[str]
    unit: Mapped[str] = mapped_column(String(10))
    #: How many grams or pieces one pack holds.
    pack_quantity: Mapped[int]
    #: Days a lot must still keep when it reaches the buyer.
    min_life_days: Mapped[int] = mapped_column(default=0)
    gtin: Mapped[str | None] = mapped_column(String(14))
    #: Counts the price changes published; the product counts its own.
    version: Mapped[int] = mapped_column(default=0)
    product: Mapped[Product] = relationship(back_populates="variants")
    prices: Mapped[list["Price"]] = relationship(
        order_by="(Price.channel, Price.valid_from)", lazy="select"
    )
    __table_args__ = (
        one_of("unit", UNITS),
        CheckConstraint("pack_quantity > 0", name="pack"),
        CheckConstraint("min_life_days >= 0", name="min_life"),
    )


class Price(Base):
    """What a variant costs in one channel from a moment on, until a later price or `valid_to`."""

    __tablename__ = "prices"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    variant_id: Mapped[UUID] = mapped_column(ForeignKey("variants.id"))
    channel: Mapped[str] = mapped_column(String(20))
    price_fen: Mapped[int]
    #: How many grams or pieces `price_fen` buys.
    price_unit: Mapped[int]
    valid_from: Mapped[datetime]
    valid_to: Mapped[datetime | None]
    __table_args__ = (
        UniqueConstraint("variant_id", "channel", "valid_from"),
        one_of("channel", CHANNELS),
        CheckConstraint("price_fen > 0", name="price"),
        CheckConstraint("price_unit > 0", name="unit"),
        CheckConstraint("valid_to > valid_from", name="span"),
    )


class Location(Base):
    """Where stock lies: a site of logistics, under the same id."""

    __tablename__ = "locations"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(unique=True)
    level: Mapped[str] = mapped_column(String(10), index=True)
    parent_id: Mapped[UUID | None]
    names: Mapped[dict[str, str]]
    is_open: Mapped[bool] = mapped_column(default=True)
    __table_args__ = (one_of("level", SITE_LEVELS),)


class Lot(Base):
    """Goods of one variant that one producer harvested on one day.

    Its row is the lock for all its stock: whoever changes a level of the lot holds it.
    """

    __tablename__ = "lots"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    code: Mapped[str] = mapped_column(unique=True)
    variant_id: Mapped[UUID] = mapped_column(ForeignKey("variants.id"))
    producer_id: Mapped[UUID] = mapped_column(ForeignKey("enterprises.id"), index=True)
    origin_site_id: Mapped[UUID | None] = mapped_column(ForeignKey("locations.id"))
    harvest_date: Mapped[date]
    best_before: Mapped[date | None]
    status: Mapped[str] = mapped_column(String(10), default=LotStatus.HARVESTED.value)
    #: Why it is held or recalled.
    status_reason: Mapped[str | None]
    version: Mapped[int] = mapped_column(default=0)
    levels: Mapped[list["StockLevel"]] = relationship(
        back_populates="lot", order_by="StockLevel.id", lazy="raise_on_sql"
    )
    __table_args__ = (
        one_of("status", LotStatus),
        CheckConstraint("best_before >= harvest_date", name="dates"),
        Index("ix_lots_variant_id_status", "variant_id", "status"),
    )


class StockLevel(Base):
    """How much of a lot stands in each bucket at a location; always the sum of its movements."""

    __tablename__ = "stock_levels"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    lot_id: Mapped[UUID] = mapped_column(ForeignKey("lots.id"))
    location_id: Mapped[UUID] = mapped_column(ForeignKey("locations.id"), index=True)
    available: Mapped[int] = mapped_column(default=0)
    reserved: Mapped[int] = mapped_column(default=0)
    committed: Mapped[int] = mapped_column(default=0)
    allotted: Mapped[int] = mapped_column(default=0)
    held: Mapped[int] = mapped_column(default=0)
    damaged: Mapped[int] = mapped_column(default=0)
    lot: Mapped[Lot] = relationship(back_populates="levels")
    __table_args__ = (
        UniqueConstraint("lot_id", "location_id"),
        *(CheckConstraint(f"{bucket} >= 0", name=bucket) for bucket in Bucket),
    )

    @property
    def on_hand(self) -> int:
        """What lies there, whoever has a claim on it."""
        return (
            self.available
            + self.reserved
            + self.committed
            + self.allotted
            + self.held
            + self.damaged
        )


class StockMovement(Base):
    """A quantity of a lot went from one account to another; never changed, never deleted."""

    __tablename__ = "stock_movements"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    lot_id: Mapped[UUID]
    location_id: Mapped[UUID]
    #: A bucket, or an account outside (see `rules.Account`).
    from_bucket: Mapped[str] = mapped_column(String(12))
    to_bucket: Mapped[str] = mapped_column(String(12))
    quantity: Mapped[int]
    reason: Mapped[str] = mapped_column(String(12))
    order_id: Mapped[UUID | None]
    #: The event that caused it, or the correlation id of the request.
    cause: Mapped[str]
    #: The token's subject, or the service whose event caused it.
    actor: Mapped[str]
    at: Mapped[datetime] = mapped_column(default=now)
    __table_args__ = (
        ForeignKeyConstraint(
            ["lot_id", "location_id"], ["stock_levels.lot_id", "stock_levels.location_id"]
        ),
        CheckConstraint("quantity > 0", name="quantity"),
        CheckConstraint("from_bucket <> to_bucket", name="two_sides"),
        Index("ix_stock_movements_lot_id_location_id", "lot_id", "location_id"),
    )


class Reservation(Base):
    """What was set aside for one order: all its lines, or none."""

    __tablename__ = "reservations"
    order_id: Mapped[UUID] = mapped_column(primary_key=True)
    channel: Mapped[str] = mapped_column(String(20))
    site_id: Mapped[UUID]
    status: Mapped[str] = mapped_column(String(10))
    #: Why it was released, or what its committed goods wait for.
    reason: Mapped[str | None] = mapped_column(String(12))
    changed_at: Mapped[datetime]
    version: Mapped[int] = mapped_column(default=0)
    #: To be shown only; `use_cases.held` writes them.
    lines: Mapped[list["ReservationLine"]] = relationship(
        viewonly=True, lazy="raise_on_sql", order_by="ReservationLine.line_no"
    )
    __table_args__ = (
        one_of("status", ReservationStatus),
        Index(
            "ix_reservations_open",
            "order_id",
            sqlite_where=text("status IN ('held', 'committed')"),
            postgresql_where=text("status IN ('held', 'committed')"),
        ),
    )


class ReservationLine(Base):
    """What one line of an order took from one lot at one location."""

    __tablename__ = "reservation_lines"
    order_id: Mapped[UUID] = mapped_column(ForeignKey("reservations.order_id"), primary_key=True)
    line_no: Mapped[int] = mapped_column(primary_key=True)
    lot_id: Mapped[UUID] = mapped_column(primary_key=True)
    location_id: Mapped[UUID] = mapped_column(primary_key=True)
    variant_id: Mapped[UUID]
    quantity: Mapped[int]
    __table_args__ = (
        ForeignKeyConstraint(
            ["lot_id", "location_id"], ["stock_levels.lot_id", "stock_levels.location_id"]
        ),
        CheckConstraint("quantity > 0", name="quantity"),
    )
