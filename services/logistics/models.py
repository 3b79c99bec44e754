"""Logistics' tables. The `version` of a site or shipment counts the events recorded of it."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any, ClassVar, Literal
from uuid import UUID

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Enum,
    Float,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from services.logistics.rules import LotStatus, ShipmentState, TrackingStatus
from shared.events import SITE_LEVELS, SiteLevel
from shared.runtime.ids import new_id
from shared.runtime.tables import COLUMN_TYPES, NAMING


class Base(DeclarativeBase):
    """Base of logistics' own tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = COLUMN_TYPES


def _one_of(kind: type[StrEnum], name: str) -> Enum:
    return Enum(
        kind,
        name=name,
        native_enum=False,
        create_constraint=True,
        length=24,
        values_callable=lambda members: [member.value for member in members],
    )


class Site(Base):
    """A place of the network: it stores, passes on, delivers or hands over.

    `way` is the chain of legs that leads to it from a centre. It is recomputed whenever the
    network changes, so that planning a shipment reads one row. `cold_way` has cold legs only;
    None: there is no such way.
    """

    __tablename__ = "sites"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    code: Mapped[str] = mapped_column(String(40), unique=True)
    level: Mapped[SiteLevel] = mapped_column(String(10))
    parent_id: Mapped[UUID | None] = mapped_column(ForeignKey("sites.id"), index=True)
    names: Mapped[dict[str, str]] = mapped_column(JSON)
    #: Degrees, WGS 84.
    latitude: Mapped[float | None] = mapped_column(Float)
    longitude: Mapped[float | None] = mapped_column(Float)
    opening_hours: Mapped[str | None] = mapped_column(String(200))
    way: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON(none_as_null=True))
    cold_way: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON(none_as_null=True))
    opened_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    #: Null in a row of the version before.
    changed_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=0)
    __table_args__ = (
        Index("ix_sites_changed_at", "changed_at", "id"),
        CheckConstraint(f"level IN {SITE_LEVELS}", name="level"),
        CheckConstraint("(level = 'centre') = (parent_id IS NULL)", name="parent"),
    )


class Route(Base):
    """A connection that runs from one site to another on some days of the week."""

    __tablename__ = "routes"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    from_site_id: Mapped[UUID] = mapped_column(ForeignKey("sites.id"))
    to_site_id: Mapped[UUID] = mapped_column(ForeignKey("sites.id"), index=True)
    hours: Mapped[int]
    #: ISO weekdays, 1 is Monday.
    days: Mapped[list[int]] = mapped_column(JSON)
    cold: Mapped[bool]
    __table_args__ = (
        UniqueConstraint("from_site_id", "to_site_id", name="uq_routes_from_to"),
        CheckConstraint("hours > 0", name="hours"),
        CheckConstraint("from_site_id <> to_site_id", name="leads_elsewhere"),
    )


class VariantReadModel(Base):
    """How a variant must be stored, from catalog's listings."""

    __tablename__ = "variants"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    product_id: Mapped[UUID]
    storage: Mapped[str | None]
    #: Sequence of the listing that the row was taken from.
    listed_in: Mapped[int]


class StoppedLot(Base):
    """A lot that was held or recalled at least once, with its last status from catalog."""

    __tablename__ = "stopped_lots"
    lot_id: Mapped[UUID] = mapped_column(primary_key=True)
    status: Mapped[LotStatus] = mapped_column(_one_of(LotStatus, "status"))


class Shipment(Base):
    """The goods of one confirmed order, from the shelf to the buyer or back to the shelf."""

    __tablename__ = "shipments"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    shipment_ref: Mapped[str] = mapped_column(String(20), unique=True)
    order_id: Mapped[UUID] = mapped_column(unique=True)
    order_ref: Mapped[str] = mapped_column(String(20))
    site_id: Mapped[UUID] = mapped_column(ForeignKey("sites.id"))
    #: True: the buyer collects it at the site. False: the site delivers it to the address.
    collect: Mapped[bool]
    state: Mapped[ShipmentState] = mapped_column(_one_of(ShipmentState, "state"))
    promised_on: Mapped[date]
    #: True: something in it must stay cold.
    cold: Mapped[bool]
    #: True: it must stay cold, but no way to its site is cold throughout; pack it with ice.
    cold_gap: Mapped[bool]
    #: What the buyer pays on hand-over, in fen.
    due_fen: Mapped[int]
    collected_fen: Mapped[int | None]
    #: The site that last reported its arrival.
    at_site_id: Mapped[UUID | None] = mapped_column(ForeignKey("sites.id"))
    #: One of `rules.FAILURE_REASONS`, or `rules.ORDER_CANCELLED`, or `rules.LOT_RECALLED`.
    refusal: Mapped[str | None] = mapped_column(String(24))
    #: The goods went back on sale (True) or were written off (False).
    restocked: Mapped[bool | None]
    planned_at: Mapped[datetime]
    packed_at: Mapped[datetime | None]
    handed_over_at: Mapped[datetime | None]
    #: When it reached its own site.
    arrived_at: Mapped[datetime | None]
    refused_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=0)
    # "raise" forbids one query a shipment: a query that needs the lines loads them with it. Their
    # rows are added by themselves, so a new shipment need not look for them.
    lines: Mapped[list["ShipmentLine"]] = relationship(
        lazy="raise", viewonly=True, order_by="(ShipmentLine.line_no, ShipmentLine.lot_id)"
    )
    proof: Mapped["ProofOfDelivery | None"] = relationship(lazy="raise", viewonly=True)
    __table_args__ = (
        Index("ix_shipments_site_state", "site_id", "state"),
        Index(
            "ix_shipments_open",
            "planned_at",
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
        CheckConstraint("due_fen >= 0", name="due"),
    )


class ShipmentLine(Base):
    """What a shipment carries of one line from one lot."""

    __tablename__ = "shipment_lines"
    shipment_id: Mapped[UUID] = mapped_column(ForeignKey("shipments.id"), primary_key=True)
    line_no: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    #: Indexed: a recall asks which shipments carry a lot.
    lot_id: Mapped[UUID] = mapped_column(primary_key=True, index=True)
    location_id: Mapped[UUID] = mapped_column(primary_key=True)
    variant_id: Mapped[UUID]
    lot_code: Mapped[str]
    producer_id: Mapped[UUID]
    #: In the variant's unit.
    quantity: Mapped[int]
    __table_args__ = (CheckConstraint("quantity > 0", name="quantity"),)


class TrackingEvent(Base):
    """One report of where a parcel was seen. Only ever added."""

    __tablename__ = "tracking_events"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    shipment_id: Mapped[UUID] = mapped_column(ForeignKey("shipments.id"), index=True)
    status: Mapped[TrackingStatus] = mapped_column(_one_of(TrackingStatus, "status"))
    site_id: Mapped[UUID | None] = mapped_column(ForeignKey("sites.id"))
    carrier: Mapped[str | None] = mapped_column(String(40))
    #: The carrier's own code, as received.
    carrier_code: Mapped[str | None] = mapped_column(String(80))
    #: When it happened, as reported; `recorded_at` is when we learned of it.
    happened_at: Mapped[datetime]
    recorded_at: Mapped[datetime]


class ProofOfDelivery(Base):
    """The proof that a shipment was handed over: the code (`code`), or a recipient (`name`).

    The name is kept as long as the proof; it is shown to those who operate shipments only.
    """

    __tablename__ = "proofs_of_delivery"
    shipment_id: Mapped[UUID] = mapped_column(ForeignKey("shipments.id"), primary_key=True)
    kind: Mapped[Literal["code", "name"]] = mapped_column(String(4))
    received_by: Mapped[str | None] = mapped_column(String(100))
    collected_fen: Mapped[int]
    difference_reason: Mapped[str | None] = mapped_column(String(200))
    #: The clerk's or driver's account, or `device/<code>` of a till.
    handed_over_by: Mapped[str]
    #: The entry of a till's journal that reported it; None: a person recorded it over HTTP.
    entry_id: Mapped[UUID | None]
    recorded_at: Mapped[datetime]
    __table_args__ = (
        CheckConstraint("kind = 'code' OR received_by IS NOT NULL", name="shown"),
        CheckConstraint("kind IN ('code', 'name')", name="kind"),
    )


class UnplannedParcel(Base):
    """A parcel that a till reports as handed over and that logistics never planned.

    It has no shipment whose `version` numbers the refusals, so this row has a `version`.
    """

    __tablename__ = "unplanned_parcels"
    shipment_id: Mapped[UUID] = mapped_column(primary_key=True)
    first_told_at: Mapped[datetime]
    version: Mapped[int] = mapped_column(default=0)


class CollectionCode(Base):
    """Salt and digest of the code that a buyer shows; deleted when the shipment is handed over."""

    __tablename__ = "collection_codes"
    shipment_id: Mapped[UUID] = mapped_column(ForeignKey("shipments.id"), primary_key=True)
    salt: Mapped[bytes] = mapped_column(LargeBinary(16))
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    wrong_tries: Mapped[int] = mapped_column(SmallInteger, default=0)
    issued_at: Mapped[datetime]


class DeliveryAddress(Base):
    """How to reach the buyer of one order; erased some days after it is no longer needed."""

    __tablename__ = "delivery_addresses"
    order_id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    phone: Mapped[str]
    #: None when the buyer comes to the site.
    address: Mapped[str | None]
    language: Mapped[str] = mapped_column(String(10))
    given_at: Mapped[datetime] = mapped_column(index=True)
