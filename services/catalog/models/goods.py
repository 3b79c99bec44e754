"""Who brings goods, what is sold, in which ways, and what it costs."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from services.catalog.models.base import Base, one_of
from shared.events import CHANNELS, UNITS, Channel, Unit
from shared.runtime.ids import new_id


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
    #: Null in a row of the version before.
    changed_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=0)
    variants: Mapped[list["Variant"]] = relationship(
        back_populates="product", order_by="Variant.id", lazy="selectin"
    )
    __table_args__ = (
        one_of("status", ("listed", "withdrawn")),
        Index("ix_products_changed_at", "changed_at", "id"),
        CheckConstraint("shelf_life_days > 0", name="shelf_life"),
    )


class Variant(Base):
    """One way in which a product is sold: a grade, a pack, a unit."""

    __tablename__ = "variants"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    product_id: Mapped[UUID] = mapped_column(ForeignKey("products.id"), index=True)
    sku: Mapped[str] = mapped_column(unique=True)
    grade: Mapped[str]
    unit: Mapped[Unit] = mapped_column(String(10))
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
    """What a variant costs in one channel in a span of time; see `shared.runtime.validity`."""

    __tablename__ = "prices"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    variant_id: Mapped[UUID] = mapped_column(ForeignKey("variants.id"))
    channel: Mapped[Channel] = mapped_column(String(20))
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
