"""Locations, lots, balances and movements of stock, reservations of orders, and availability."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from services.catalog.models.base import Base, one_of
from services.catalog.models.goods import Variant
from services.catalog.rules import Bucket, LotStatus, ReservationStatus
from shared.events import SITE_LEVELS
from shared.runtime.clock import now
from shared.runtime.ids import new_id


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

    Its row is the lock for all its stock: a transaction locks it before it changes a level.
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
    #: `Bucket.QUARANTINED`.
    held: Mapped[int] = mapped_column(default=0)
    damaged: Mapped[int] = mapped_column(default=0)
    lot: Mapped[Lot] = relationship(back_populates="levels")
    __table_args__ = (
        UniqueConstraint("lot_id", "location_id"),
        *(CheckConstraint(f"{bucket} >= 0", name=bucket) for bucket in Bucket),
    )

    @property
    def on_hand(self) -> int:
        """The sum of all buckets."""
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
    reason: Mapped[str] = mapped_column(String(20))
    order_id: Mapped[UUID | None]
    #: The allotment whose quota it changed.
    allotment_id: Mapped[UUID | None]
    #: The station sale, void or return that moved it.
    sale_id: Mapped[UUID | None]
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
        Index(
            "ix_stock_movements_sale_id",
            "sale_id",
            sqlite_where=text("sale_id IS NOT NULL"),
            postgresql_where=text("sale_id IS NOT NULL"),
        ),
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
    #: To be shown only; `use_cases.stock.reservation_lines` writes them.
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


class Availability(Base):
    """How much of a variant an order over any channel could reserve, as last published."""

    __tablename__ = "availability"
    variant_id: Mapped[UUID] = mapped_column(ForeignKey("variants.id"), primary_key=True)
    quantity: Mapped[int]
    #: There is more than `quantity`, the most that the operator shows.
    capped: Mapped[bool]
    #: The sequence of the event that published it.
    version: Mapped[int]
    changed_at: Mapped[datetime]
    variant: Mapped[Variant] = relationship(viewonly=True, lazy="raise_on_sql")
    __table_args__ = (
        CheckConstraint("quantity >= 0", name="quantity"),
        Index("ix_availability_changed_at", "changed_at", "variant_id"),
    )
