"""Devices of stations, what each may sell while cut off, and what it sold.

`granted = sold + returned + remaining + written_off` holds in every row of `allotments`, by a
constraint; `sold` is gross and only grows.
"""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from services.catalog.models.base import Base, one_of
from services.catalog.models.stock import Location
from services.catalog.rules import (
    AllotmentStatus,
    DeviceStatus,
    OverdraftStatus,
    Quota,
    ReturnStatus,
    SaleStatus,
    SuspensionReason,
)
from shared.events import STATION_SALE_KINDS
from shared.runtime.ids import new_id


class Device(Base):
    """A place at a station's counter for a till; its epoch tells which machine stands there.

    Its row is the lock for its epochs and allotments.
    """

    __tablename__ = "devices"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    site_id: Mapped[UUID] = mapped_column(ForeignKey("locations.id"), index=True)
    status: Mapped[str] = mapped_column(String(10), default=DeviceStatus.NEW.value)
    #: The epoch of the present machine; 0: none was enrolled yet.
    epoch: Mapped[int] = mapped_column(default=0)
    #: Grows with every change of its allotments that its machine must be told.
    revision: Mapped[int] = mapped_column(default=0)
    #: The operator who revoked it, and the reason.
    revoked_by: Mapped[str | None]
    revoked_reason: Mapped[str | None]
    revoked_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=0)
    site: Mapped[Location] = relationship(lazy="selectin", viewonly=True)
    epochs: Mapped[list["DeviceEpoch"]] = relationship(
        order_by="DeviceEpoch.epoch", lazy="selectin", viewonly=True
    )
    __table_args__ = (
        one_of("status", DeviceStatus),
        CheckConstraint("epoch >= 0", name="epoch"),
    )


class DeviceEpoch(Base):
    """One enrolment of a device: a machine with a key of its own, and its last report."""

    __tablename__ = "device_epochs"
    #: Of the machine's key; see `shared.runtime.api_keys`.
    key_id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    device_id: Mapped[UUID] = mapped_column(ForeignKey("devices.id"))
    epoch: Mapped[int]
    #: SHA-256 of the key's secret.
    digest: Mapped[str] = mapped_column(String(64))
    #: What the key may do; [] when it is revoked.
    scopes: Mapped[list[str]]
    enrolled_at: Mapped[datetime]
    #: When another machine replaced it.
    superseded_at: Mapped[datetime | None]
    last_contact_at: Mapped[datetime | None]
    #: Until when it may sell without another contact.
    lease_until: Mapped[datetime | None]
    #: The device's revision that the machine has confirmed.
    seen_revision: Mapped[int] = mapped_column(default=0)
    #: From its last report: entries not uploaded, the oldest of them, its last number.
    unsynced: Mapped[int | None]
    oldest_unsynced_at: Mapped[datetime | None]
    last_number: Mapped[int | None]
    app_version: Mapped[str | None]
    #: Its clock minus ours, in seconds.
    clock_offset_seconds: Mapped[int | None]
    #: What it reported to have left, by lot.
    remaining: Mapped[dict[str, int] | None]
    __table_args__ = (
        UniqueConstraint("device_id", "epoch"),
        CheckConstraint("epoch > 0", name="epoch"),
    )


class Enrolment(Base):
    """A one-time code with which a machine becomes a device; only its digest is kept."""

    __tablename__ = "enrolments"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    device_id: Mapped[UUID] = mapped_column(ForeignKey("devices.id"), index=True)
    #: SHA-256 of the code without its dash.
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    made_by: Mapped[str]
    expires_at: Mapped[datetime]
    #: The key that was given for it; None: it was not used yet.
    key_id: Mapped[UUID | None] = mapped_column(ForeignKey("device_epochs.key_id"))
    used_at: Mapped[datetime | None]
    #: When a newer code, or a revocation, ended it.
    ended_at: Mapped[datetime | None]


class Allotment(Base):
    """What one machine may sell of one lot while cut off; nobody else can reach these goods."""

    __tablename__ = "allotments"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    device_id: Mapped[UUID] = mapped_column(ForeignKey("devices.id"))
    epoch: Mapped[int]
    lot_id: Mapped[UUID] = mapped_column(ForeignKey("lots.id"), index=True)
    variant_id: Mapped[UUID] = mapped_column(ForeignKey("variants.id"))
    #: Where the goods lie: the device's site.
    site_id: Mapped[UUID] = mapped_column(ForeignKey("locations.id"))
    granted: Mapped[int] = mapped_column(default=0)
    sold: Mapped[int] = mapped_column(default=0)
    returned: Mapped[int] = mapped_column(default=0)
    remaining: Mapped[int] = mapped_column(default=0)
    written_off: Mapped[int] = mapped_column(default=0)
    status: Mapped[str] = mapped_column(String(10), default=AllotmentStatus.GRANTED.value)
    #: Why it is suspended.
    reason: Mapped[str | None] = mapped_column(String(12))
    #: The last operator who suspended it, wrote it off or took it back, and the reason given.
    actor: Mapped[str | None]
    note: Mapped[str | None]
    #: The quantity that the centre asks back before it spoils.
    proposed_return: Mapped[int] = mapped_column(default=0)
    #: The device's revision of its last change that the machine must be told.
    revision: Mapped[int] = mapped_column(default=0)
    granted_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    version: Mapped[int] = mapped_column(default=0)
    __table_args__ = (
        UniqueConstraint("device_id", "epoch", "lot_id"),
        one_of("status", AllotmentStatus),
        one_of("reason", SuspensionReason),
        CheckConstraint("granted = sold + returned + remaining + written_off", name="quota"),
        *(
            CheckConstraint(f"{part} >= 0", name=part)
            for part in ("granted", "sold", "returned", "remaining", "written_off")
        ),
        CheckConstraint("proposed_return >= 0", name="proposed_return"),
        CheckConstraint("(status = 'suspended') = (reason IS NOT NULL)", name="suspended"),
        CheckConstraint("status <> 'closed' OR remaining = 0", name="closed"),
        Index(
            "ix_allotments_open",
            "variant_id",
            "site_id",
            sqlite_where=text("status <> 'closed'"),
            postgresql_where=text("status <> 'closed'"),
        ),
    )

    @property
    def quota(self) -> Quota:
        """The row's five quantities as a value."""
        return Quota(self.granted, self.sold, self.returned, self.remaining, self.written_off)

    @quota.setter
    def quota(self, quota: Quota) -> None:
        self.granted, self.sold, self.returned = quota.granted, quota.sold, quota.returned
        self.remaining, self.written_off = quota.remaining, quota.written_off


class AllotmentReturn(Base):
    """Goods that a device gave back, under an id that the device made: they count once."""

    __tablename__ = "allotment_returns"
    return_id: Mapped[UUID] = mapped_column(primary_key=True)
    device_id: Mapped[UUID] = mapped_column(ForeignKey("devices.id"), index=True)
    epoch: Mapped[int]
    #: As the device reported it; catalog may not know it.
    allotment_id: Mapped[UUID]
    quantity: Mapped[int]
    status: Mapped[str] = mapped_column(String(10))
    reason: Mapped[str | None] = mapped_column(String(20))
    at: Mapped[datetime]
    __table_args__ = (
        one_of("status", ReturnStatus),
        CheckConstraint("quantity > 0", name="quantity"),
    )


class AllotmentCount(Base):
    """A count by which an operator closed an allotment. Rows are only ever added."""

    __tablename__ = "allotment_counts"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    allotment_id: Mapped[UUID] = mapped_column(ForeignKey("allotments.id"), index=True)
    counted: Mapped[int]
    #: Written off.
    missing: Mapped[int]
    reason: Mapped[str]
    actor: Mapped[str]
    at: Mapped[datetime]
    __table_args__ = (CheckConstraint("counted >= 0 AND missing >= 0", name="quantities"),)


class StandingRule(Base):
    """How much of a variant is kept at a site while the centre has stock."""

    __tablename__ = "standing_rules"
    site_id: Mapped[UUID] = mapped_column(ForeignKey("locations.id"), primary_key=True)
    variant_id: Mapped[UUID] = mapped_column(ForeignKey("variants.id"), primary_key=True)
    #: For lists in pages.
    id: Mapped[UUID] = mapped_column(unique=True, default=new_id)
    keep: Mapped[int]
    set_by: Mapped[str]
    set_at: Mapped[datetime]
    __table_args__ = (CheckConstraint("keep > 0", name="keep"),)


class StationSale(Base):
    """A sale, void or return at a station's counter, booked or not. Rows are only ever added."""

    __tablename__ = "station_sales"
    sale_id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    device_id: Mapped[UUID]
    epoch: Mapped[int]
    number: Mapped[int]
    site_id: Mapped[UUID]
    #: The sale that is voided, or whose goods came back.
    of_sale_id: Mapped[UUID | None]
    #: What catalog decided when it recorded the sale; an overdraft has a status of its own.
    status: Mapped[str] = mapped_column(String(10))
    #: Each with line_no, variant_id, lot_id and quantity (ids as text).
    lines: Mapped[list[dict[str, Any]]]
    at: Mapped[datetime]
    __table_args__ = (
        one_of("kind", STATION_SALE_KINDS),
        one_of("status", SaleStatus),
        Index(
            "ix_station_sales_of_sale_id",
            "of_sale_id",
            sqlite_where=text("of_sale_id IS NOT NULL"),
            postgresql_where=text("of_sale_id IS NOT NULL"),
        ),
    )


class DailySales(Base):
    """How much of a variant a site sold, less returns, by the day on which catalog recorded it."""

    __tablename__ = "daily_sales"
    site_id: Mapped[UUID] = mapped_column(primary_key=True)
    variant_id: Mapped[UUID] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    quantity: Mapped[int]


class Overdraft(Base):
    """A sale beyond what its device was granted; in no balance until it is settled."""

    __tablename__ = "overdrafts"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    sale_id: Mapped[UUID] = mapped_column(unique=True)
    device_id: Mapped[UUID] = mapped_column(index=True)
    epoch: Mapped[int]
    number: Mapped[int]
    site_id: Mapped[UUID]
    reason: Mapped[str] = mapped_column(String(40))
    status: Mapped[str] = mapped_column(String(10), default=OverdraftStatus.OPEN.value)
    #: The lines that are not covered, or were not when it was settled; as in `station_sales`.
    lines: Mapped[list[dict[str, Any]]]
    opened_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    #: The operator who settled it, and the reason.
    settled_by: Mapped[str | None]
    settled_reason: Mapped[str | None]
    version: Mapped[int] = mapped_column(default=0)
    __table_args__ = (
        one_of("status", OverdraftStatus),
        Index(
            "ix_overdrafts_open",
            "id",
            sqlite_where=text("status = 'open'"),
            postgresql_where=text("status = 'open'"),
        ),
    )
