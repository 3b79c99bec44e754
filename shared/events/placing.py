"""An order is placed, its stock is set aside, and it stands or not."""

from uuid import UUID

from shared.events.base import Channel, Fact, Fen, Part, PaymentMethod, Quantity


class PlacedLine(Part, frozen=True, kw_only=True):
    """One line as ordered; the price is what orders' own price list said."""

    line_no: int
    variant_id: UUID
    quantity: Quantity
    line_total_fen: Fen


class _AsOrdered(Fact, frozen=True, kw_only=True):
    """What was ordered, and by whom."""

    order_id: UUID
    order_ref: str
    channel: Channel
    payment_method: PaymentMethod
    buyer_id: str | None
    #: The site that delivers or hands over the goods.
    site_id: UUID
    lines: list[PlacedLine]
    total_fen: Fen


class ApprovalRequested(_AsOrdered, frozen=True, kw_only=True):
    """A buyer ordered more than may be held unpaid: an operator approves it, or declines.

    Nothing is asked for in stock before `order_placed`; one that is declined, or withdrawn by its
    buyer, ends with `order_rejected`. `buyer_id` is as in `order_placed`.
    """

    routing_key = "orders.approval_requested.v1"
    subject = "order_id"

    reason: str


class OrderPlaced(_AsOrdered, frozen=True, kw_only=True):
    """A buyer ordered; stock is asked for, nothing is promised yet.

    `buyer_id` is opaque and says nothing of a person: orders refuses telephone numbers. That of
    a shop's own buyer begins with the shop's subject and a colon.
    """

    routing_key = "orders.order_placed.v1"
    subject = "order_id"


class ContactGiven(Fact, frozen=True, kw_only=True):
    """A buyer said how to reach them and where to deliver, for one order."""

    routing_key = "orders.contact_given.v1"
    subject = "order_id"
    public = False

    order_id: UUID
    order_ref: str
    #: Whose preferences apply; None for a guest.
    buyer_id: str | None
    name: str
    phone: str
    address: str | None
    language: str


class TakenLot(Part, frozen=True, kw_only=True):
    """What one line took from one lot at one location."""

    lot_id: UUID
    lot_code: str
    location_id: UUID
    producer_id: UUID
    quantity: Quantity


class ReservedLine(Part, frozen=True, kw_only=True):
    """One line with the lots that were reserved for it."""

    line_no: int
    variant_id: UUID
    lots: list[TakenLot]


class StockReserved(Fact, frozen=True, kw_only=True):
    """All lines of an order are set aside, each from the lots that expire first."""

    routing_key = "catalog.stock_reserved.v1"
    subject = "order_id"

    order_id: UUID
    lines: list[ReservedLine]


class Shortfall(Part, frozen=True, kw_only=True):
    """A line that could not be covered, and what there was."""

    line_no: int
    variant_id: UUID
    requested: int
    available: int


class StockRefused(Fact, frozen=True, kw_only=True):
    """Nothing of the order was reserved, because at least one line was short.

    An answer, not a failure: catalog does not try again.
    """

    routing_key = "catalog.stock_refused.v1"
    subject = "order_id"

    order_id: UUID
    shortfalls: list[Shortfall]


class ConfirmedLine(Part, frozen=True, kw_only=True):
    """One line that will be delivered."""

    line_no: int
    variant_id: UUID
    quantity: Quantity
    line_total_fen: Fen
    lots: list[TakenLot]


class OrderConfirmed(Fact, frozen=True, kw_only=True):
    """The order stands: its stock is reserved and nothing more is needed to deliver it."""

    routing_key = "orders.order_confirmed.v1"
    subject = "order_id"

    order_id: UUID
    order_ref: str
    channel: Channel
    payment_method: PaymentMethod
    site_id: UUID
    #: True: the buyer comes to the site. False: the site brings it to the address.
    collect: bool
    lines: list[ConfirmedLine]
    total_fen: Fen
    #: What is still to be taken from the buyer on hand-over, in fen.
    due_fen: Fen


class OrderRejected(Fact, frozen=True, kw_only=True):
    """The order will not be delivered: its stock was refused, or an operator did not approve it."""

    routing_key = "orders.order_rejected.v1"
    subject = "order_id"

    order_id: UUID
    order_ref: str
    reason: str
    shortfalls: list[Shortfall]
