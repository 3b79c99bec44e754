"""Tables of orders, and the read models that placement needs.

`version` counts the events published of an order.
"""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    SmallInteger,
    String,
    and_,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from services.orders.models.base import Base, one_of
from services.orders.rules.order_status import (
    PREPAID,
    FulfilmentState,
    OrderState,
    OrderStatus,
    PaymentState,
)
from shared.events import CHANNELS, PAYMENT_METHODS, UNITS, Channel, PaymentMethod

#: Orders that wait for catalog or logistics. The queries use the same text: a database uses a
#: partial index only for a condition that equals the index's own.
UNPLANNED = text("(state = 'placed' OR (state = 'confirmed' AND shipment_id IS NULL))")
#: Orders that hold stock and are unpaid: see `phone_digest`.
OPEN = text("phone_digest IS NOT NULL")
#: Cancelled orders whose parcel logistics has yet to stop.
UNSTOPPED = text("state = 'cancelled' AND fulfilment_state IN ('planned', 'packed')")


class Order(Base):
    """What one buyer ordered at once, and its status.

    Names, phones and addresses are not stored here: `contact_given` passes them on.
    """

    __tablename__ = "orders"
    #: An order from a till has the id of the till's entry, which does not grow with time.
    id: Mapped[UUID] = mapped_column(primary_key=True)
    #: Grows with each order that comes, so that lists have an order.
    arrival: Mapped[UUID] = mapped_column(index=True, unique=True)
    order_ref: Mapped[str] = mapped_column(String(20))
    channel: Mapped[Channel] = mapped_column(String(20))
    buyer_id: Mapped[str | None] = mapped_column(String(64))
    #: The token that placed it: a shop, a station, or the buyer.
    placed_by: Mapped[str] = mapped_column(String(255))
    #: The partner that placed it for its own buyers; see `rules.callers.partner_of`.
    partner: Mapped[str | None] = mapped_column(String(64))
    #: The partner's own number of the order, unique among its orders for good.
    external_ref: Mapped[str | None] = mapped_column(String(64))
    #: SHA-256 of what was ordered with `external_ref`, to tell a retry from another order.
    request_digest: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    site_id: Mapped[UUID]
    #: True: the buyer comes to the site. False: the site brings it to the address.
    collect: Mapped[bool] = mapped_column(Boolean)
    masked_phone: Mapped[str] = mapped_column(String(20))
    #: Open orders of one telephone are counted by it; None once the order is not open.
    phone_digest: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    #: Why it needs an operator's approval, as a code; None: it needs none.
    approval_reason: Mapped[str | None] = mapped_column(String(40))
    approved_by: Mapped[str | None] = mapped_column(String(255))
    #: SHA-256 of the secret in a guest's link; None when the order has a buyer.
    guest_secret_digest: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    payment_method: Mapped[PaymentMethod] = mapped_column(String(20))
    state: Mapped[OrderState] = mapped_column(one_of(OrderState, "state"))
    payment_state: Mapped[PaymentState] = mapped_column(one_of(PaymentState, "payment_state"))
    fulfilment_state: Mapped[FulfilmentState | None] = mapped_column(
        one_of(FulfilmentState, "fulfilment_state")
    )
    total_fen: Mapped[int]
    paid_fen: Mapped[int] = mapped_column(default=0)
    refunded_fen: Mapped[int] = mapped_column(default=0)
    difference_fen: Mapped[int | None]
    #: The payment that counts; others were refunded at once.
    payment_id: Mapped[UUID | None]
    #: How long its goods are held for the money, fixed when it was placed.
    hold_seconds: Mapped[int]
    expires_at: Mapped[datetime | None]
    #: Why it was rejected or cancelled, why its stock is asked for once more, or why its goods
    #: come back, as a code.
    reason: Mapped[str | None] = mapped_column(String(40))
    shortfalls: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON(none_as_null=True))
    shipment_id: Mapped[UUID | None]
    shipment_ref: Mapped[str | None] = mapped_column(String(20))
    promised_on: Mapped[date | None]
    placed_at: Mapped[datetime] = mapped_column(index=True)
    #: When catalog answered: reserved, confirmed or rejected.
    decided_at: Mapped[datetime | None]
    changed_at: Mapped[datetime]
    version: Mapped[int] = mapped_column(default=0)

    lines: Mapped[list["OrderLine"]] = relationship(
        back_populates="order", order_by="OrderLine.line_no", lazy="selectin"
    )

    __table_args__ = (
        CheckConstraint(f"channel IN {CHANNELS}", name="channel"),
        CheckConstraint(f"payment_method IN {PAYMENT_METHODS}", name="payment_method"),
        CheckConstraint("total_fen >= 0", name="total"),
        CheckConstraint("0 <= refunded_fen AND refunded_fen <= paid_fen", name="refunded"),
        # Cash orders and confirmed ones never expire.
        CheckConstraint(
            f"expires_at IS NULL OR (payment_method = '{PREPAID}' AND state = 'reserved')",
            name="expires",
        ),
        CheckConstraint("state != 'expired' OR payment_method = 'prepaid'", name="expired"),
        # For each filter alone, rows are found in the order of the lists.
        Index("ix_orders_state_arrival", "state", "arrival"),
        Index("ix_orders_channel_arrival", "channel", "arrival"),
        Index("ix_orders_buyer_id_arrival", "buyer_id", "arrival"),
        Index("ix_orders_placed_by_arrival", "placed_by", "arrival"),
        # With these operators it also serves LIKE 'ORD-7K%', under any collation.
        Index(
            "uq_orders_order_ref",
            "order_ref",
            unique=True,
            postgresql_ops={"order_ref": "text_pattern_ops"},
        ),
        # Partial: each change of an order writes into every index that has the order.
        Index(
            "uq_orders_guest_secret_digest",
            "guest_secret_digest",
            unique=True,
            sqlite_where=text("guest_secret_digest IS NOT NULL"),
            postgresql_where=text("guest_secret_digest IS NOT NULL"),
        ),
        Index(
            "uq_orders_external_ref",
            "external_ref",
            "partner",
            unique=True,
            postgresql_ops={"external_ref": "text_pattern_ops"},
            sqlite_where=text("external_ref IS NOT NULL"),
            postgresql_where=text("external_ref IS NOT NULL"),
        ),
        Index("ix_orders_changed_at", "changed_at", "id"),
        Index(
            "ix_orders_unplanned",
            "state",
            "changed_at",
            sqlite_where=UNPLANNED,
            postgresql_where=UNPLANNED,
        ),
        Index(
            "ix_orders_unstopped",
            "state",
            "changed_at",
            sqlite_where=UNSTOPPED,
            postgresql_where=UNSTOPPED,
        ),
        *(
            Index(f"ix_orders_open_{name}", name, sqlite_where=OPEN, postgresql_where=OPEN)
            for name in ("phone_digest", "buyer_id", "placed_by")
        ),
        Index(
            "ix_orders_expires_at",
            "expires_at",
            sqlite_where=text("expires_at IS NOT NULL"),
            postgresql_where=text("expires_at IS NOT NULL"),
        ),
    )

    @property
    def awaits_approval(self) -> bool:
        """Whether it waits for an operator, and has not asked for its stock yet."""
        needed = self.approval_reason is not None and self.approved_by is None
        return needed and self.state == OrderState.PLACED

    @property
    def status(self) -> OrderStatus:
        """The order's status, as a value for the rules."""
        return OrderStatus(
            order_ref=self.order_ref,
            payment_method=self.payment_method,
            total_fen=self.total_fen,
            state=self.state,
            payment_state=self.payment_state,
            paid_fen=self.paid_fen,
            refunded_fen=self.refunded_fen,
            expires_at=self.expires_at,
            difference_fen=self.difference_fen,
        )


#: `Order.awaits_approval` as a condition of a query.
WAITING_FOR_APPROVAL = and_(
    Order.state == OrderState.PLACED,
    Order.approval_reason.is_not(None),
    Order.approved_by.is_(None),
)


class OrderLine(Base):
    """One variant of an order, with its price as it was when the order was placed."""

    __tablename__ = "order_lines"
    order_id: Mapped[UUID] = mapped_column(ForeignKey("orders.id"), primary_key=True)
    line_no: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    variant_id: Mapped[UUID]
    quantity: Mapped[int]
    price_fen: Mapped[int]
    price_unit: Mapped[int]
    line_total_fen: Mapped[int]
    #: The lots taken for it, from `stock_reserved`.
    lots: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON(none_as_null=True))

    order: Mapped[Order] = relationship(back_populates="lines")

    __table_args__ = (
        CheckConstraint("quantity > 0", name="quantity"),
        CheckConstraint("line_total_fen >= 0", name="line_total"),
    )


class ProductReadModel(Base):
    """Read model of a product of catalog, up to the event with this `sequence`."""

    __tablename__ = "product_copies"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    withdrawn: Mapped[bool] = mapped_column(Boolean)
    sequence: Mapped[int]

    variants: Mapped[list["VariantReadModel"]] = relationship(lazy="selectin")


class VariantReadModel(Base):
    """Read model of one variant of a product, a grade or pack in which it is sold."""

    __tablename__ = "variant_copies"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    product_id: Mapped[UUID] = mapped_column(ForeignKey("product_copies.id"), index=True)
    sku: Mapped[str]
    unit: Mapped[str] = mapped_column(String(10))
    pack_quantity: Mapped[int]
    on_sale: Mapped[bool] = mapped_column(Boolean)
    __table_args__ = (
        CheckConstraint(f"unit IN {UNITS}", name="unit"),
        CheckConstraint("pack_quantity > 0", name="pack_quantity"),
    )


class PriceReadModel(Base):
    """Read model of a price: what a variant costs in one channel from `valid_from` on.

    Of the prices that have begun and not ended, the one that began last is valid. The id is made
    from variant, channel and beginning, which together are unique.
    """

    __tablename__ = "price_copies"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    variant_id: Mapped[UUID]
    channel: Mapped[str] = mapped_column(String(20))
    price_fen: Mapped[int]
    price_unit: Mapped[int]
    valid_from: Mapped[datetime]
    valid_to: Mapped[datetime | None]
    sequence: Mapped[int]
    __table_args__ = (
        CheckConstraint("price_fen >= 0 AND price_unit > 0", name="price"),
        Index(
            "ix_price_copies_variant_id_channel_valid_from",
            "variant_id",
            "channel",
            "valid_from",
            unique=True,
        ),
    )


class SiteReadModel(Base):
    """Read model of a site of logistics, which may deliver or hand over goods."""

    __tablename__ = "site_copies"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    code: Mapped[str]
    closed: Mapped[bool] = mapped_column(Boolean)
    sequence: Mapped[int]
