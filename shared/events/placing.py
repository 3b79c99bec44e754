"""An order is placed, its stock is reserved, and it is confirmed or rejected."""

from uuid import UUID

from shared.events.base import Amount, Channel, Fact, Fen, OrderFact, Part, PaymentMethod, Quantity


class PlacedLine(Part, frozen=True, kw_only=True):
    """One line as ordered; the price is from orders' own price list."""

    line_no: int
    variant_id: UUID
    quantity: Quantity
    line_total_fen: Fen


class _AsOrdered(OrderFact, frozen=True, kw_only=True):
    """The buyer, the lines and the total of an order."""

    channel: Channel
    payment_method: PaymentMethod
    buyer_id: str | None
    #: The site that delivers or hands over the goods.
    site_id: UUID
    lines: list[PlacedLine]
    total_fen: Fen


class ApprovalRequested(_AsOrdered, frozen=True, kw_only=True):
    """A buyer ordered more than the limit for unpaid orders: an operator approves or declines it.

    Stock is reserved only after `order_placed`. If the operator declines or the buyer withdraws,
    the order ends with `order_rejected`. `buyer_id` is as in `order_placed`.
    """

    routing_key = "orders.approval_requested.v1"

    #: `open_orders` or `open_value`: the limit that the order passes.
    reason: str


class OrderPlaced(_AsOrdered, frozen=True, kw_only=True):
    """A buyer placed an order; catalog has not reserved its stock yet.

    `buyer_id` is opaque and no personal data: orders refuses telephone numbers. The id of a shop's
    own buyer begins with the shop's subject and a colon. `partner` is the subject of the token
    that ordered for its own buyers, `external_ref` the partner's own number of the order: all
    events of orders about this order have both.
    """

    routing_key = "orders.order_placed.v1"


class ContactGiven(Fact, frozen=True, kw_only=True):
    """A buyer gave the contact and the delivery address for one order."""

    routing_key = "orders.contact_given.v1"
    subject = "order_id"
    public = False

    order_id: UUID
    order_ref: str
    #: The buyer whose preferences apply; None for a guest.
    buyer_id: str | None
    name: str
    phone: str
    address: str | None
    language: str


class TakenLot(Part, frozen=True, kw_only=True):
    """The quantity that one line takes from one lot at one location."""

    lot_id: UUID
    lot_code: str
    location_id: UUID
    producer_id: UUID
    quantity: Quantity


class ReservedLine(Part, frozen=True, kw_only=True):
    """One line with its reserved lots."""

    line_no: int
    variant_id: UUID
    lots: list[TakenLot]


class StockReserved(Fact, frozen=True, kw_only=True):
    """Catalog reserved all lines of an order, each from the lots that expire first."""

    routing_key = "catalog.stock_reserved.v1"
    subject = "order_id"

    order_id: UUID
    lines: list[ReservedLine]


class Shortfall(Part, frozen=True, kw_only=True):
    """A line without sufficient stock, and the available quantity."""

    line_no: int
    variant_id: UUID
    requested: Amount
    available: Amount


class StockRefused(Fact, frozen=True, kw_only=True):
    """Catalog reserved nothing for the order, because stock for at least one line is short.

    A refusal, not a failure: catalog does not retry.
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


class OrderConfirmed(OrderFact, frozen=True, kw_only=True):
    """The order is confirmed: its stock is reserved, and delivery can begin."""

    routing_key = "orders.order_confirmed.v1"

    channel: Channel
    payment_method: PaymentMethod
    site_id: UUID
    #: True: the buyer collects at the site. False: the site delivers to the address.
    collect: bool
    lines: list[ConfirmedLine]
    total_fen: Fen
    #: The amount that the buyer still pays at hand-over, in fen.
    due_fen: Fen


class OrderRejected(OrderFact, frozen=True, kw_only=True):
    """The order will not be delivered: stock was short, or approval was declined or withdrawn."""

    routing_key = "orders.order_rejected.v1"

    #: `out_of_stock`, `lot_recalled`, `not_approved` or `withdrawn`.
    reason: str
    #: The lines without sufficient stock; empty for other reasons.
    shortfalls: list[Shortfall]
