"""Routes for orders: placed, read, listed, counted, cancelled."""

from typing import Any
from uuid import UUID

from flask import url_for

from services.orders.api.limits import read_limits
from services.orders.api.waiting import wait_if_preferred
from services.orders.batch import OrdersBatch
from services.orders.models import Order
from services.orders.rules import callers
from services.orders.schemas import orders as schemas
from services.orders.use_cases import approve, decide, find, place
from shared.runtime.paging import Page, page
from shared.web import (
    Blueprint,
    caller,
    grouped,
    idempotent,
    public,
    reading,
    scope,
    settings,
    transaction,
)
from shared.web.paging import page_arguments, page_of

blp = Blueprint(
    "orders",
    __name__,
    url_prefix="/api/orders/v1",
    description="Orders from every channel.",
)

#: The response header with a placed order's address, as the API's document describes it.
LOCATION = {
    "Location": {
        "description": "The order's address.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference"},
    }
}


def _owner() -> str | None:
    """Return the id of the buyer or caller whose orders the caller may see; None: all orders."""
    return None if caller().may(callers.ANY_BUYER) else caller().subject


def _placement(order_in: dict[str, Any]) -> place.Placement:
    """Return what is ordered; the caller's token decides the buyer and the channel.

    Raises:
        NotYourBuyer, UnfitBuyer, UnfitPartner, NotYourChannel, NotYourSite: the token does not
            allow it.
    """
    by = caller()
    buyer_id = callers.buyer_of(by, order_in["buyer_id"])
    channel = callers.channel_of(by, order_in["channel"])
    callers.check_site(by, order_in["site_id"])
    return place.Placement(
        **order_in | {"buyer_id": buyer_id, "channel": channel},
        placed_by=by.subject,
        partner=callers.partner_of(by),
        limits=read_limits(settings().environment),
        # Beyond a buyer's limits, an operator's order always waits for approval.
        limit_caller=by.may(callers.OWN_BUYERS) and not by.may(callers.ANY_BUYER),
        refuse_too_many=not by.may(callers.ANY_BUYER),
    )


@blp.post("/orders")
@scope("orders:place")
@wait_if_preferred
@idempotent
@blp.arguments(schemas.PlaceOrderRequest, example=schemas.ORDER_EXAMPLE)
@grouped(OrdersBatch, _placement, place.load)
@blp.response(202, schemas.PlacedOrderResponse, description="Placed", headers=LOCATION)
@blp.alt_response(
    200, schema=schemas.PlacedOrderResponse, description="Decided, as preferred", headers=LOCATION
)
def place_order(
    batch: OrdersBatch, placement: place.Placement
) -> tuple[place.PlacedOrder, dict[str, str]]:
    """Place an order.

    Orders stores it, asks catalog for its stock, and answers 202 before catalog decides. With
    `Prefer: wait=5` the answer is the decided order (200) if catalog decides in this time. Prices
    are those of the channel at this moment; give `line_total_fen` to be sure of the price that the
    buyer saw. The goods of a prepaid order are held until `expires_at`.

    The token decides the buyer and the channel. A buyer's token orders for its subject, and online
    unless it has scopes such as `channel:company`. With `orders:place_for` the order is for a
    guest or for one of the caller's own buyers: `buyer_id` `b-17` of the caller `shop` is stored
    and published as `shop:b-17`. `orders:operate` allows any buyer and channel. A token that
    belongs to sites orders only from these sites.

    The unpaid stock of a buyer, a telephone or a caller is limited. Beyond the value, an order
    waits for an operator (`awaits_approval`) before it asks for its stock. Beyond the number of
    orders, it is refused with 409 too-many-open-holds.
    """
    placed = place.place_order(batch, placement)
    return placed, {"Location": url_for("orders.show_order", order_id=placed.order.id)}


@blp.get("/orders")
@scope("orders:read")
@blp.arguments(schemas.ListOrdersRequest, location="query")
@blp.response(200, page_of(schemas.OrderResponse))
def list_orders(query: dict[str, Any]) -> Page[Order]:
    """List orders, the newest first: your own, or all with the scope orders:operate."""
    arguments = page_arguments(query)
    if "buyer_id" in query and _owner() and caller().may(callers.OWN_BUYERS):
        query["buyer_id"] = callers.own_buyer(caller(), query["buyer_id"])
    with reading() as session:
        chosen = find.select_orders(_owner(), **query)
        return page(session, chosen, Order.arrival, descending=True, **arguments)


@blp.get("/orders/summary")
@scope("orders:read")
@blp.response(200, schemas.CountsResponse)
def count_orders() -> dict[str, Any]:
    """Count orders by state: your own, or all with the scope orders:operate."""
    with reading() as session:
        counts = find.count_orders(session, _owner())
    return {"total": sum(counts.values()), "states": counts}


@blp.get("/orders/<uuid:order_id>")
@scope("orders:read")
@blp.response(200, schemas.OrderResponse)
def show_order(order_id: UUID) -> Order:
    """Show an order.

    For another buyer's order the answer is 404, unless you have the scope orders:operate.
    """
    with reading() as session:
        return find.find_order(session, order_id, _owner())


@blp.get("/guest-orders/<string(maxlength=100):secret>")
@public
@blp.response(200, schemas.OrderResponse)
def show_guest_order(secret: str) -> Order:
    """Show a guest's order to a caller with its `guest_secret`."""
    with reading() as session:
        return find.find_guest_order(session, secret)


@blp.post("/orders/<uuid:order_id>/cancel")
@scope("orders:place")
@idempotent
@blp.arguments(schemas.CancelOrderRequest)
@blp.response(200, schemas.OrderResponse)
def cancel_order(cancel_in: dict[str, Any], order_id: UUID) -> Order:
    """Cancel an order that has not left.

    Its stock comes back by event, after this answer; what was paid is refunded in full. An
    order cancelled before is answered as it is; one that waits for approval becomes rejected.
    """
    with transaction(OrdersBatch) as batch:
        order = find.lock_own_order(batch, order_id, _owner())
        return decide.cancel_order(batch, order, cancel_in["reason"])


@blp.post("/orders/<uuid:order_id>/approve")
@scope("orders:operate")
@idempotent
@blp.response(200, schemas.OrderResponse)
def approve_order(order_id: UUID) -> Order:
    """Approve an order beyond the limits, which then asks for its stock.

    The answer for an order that is already approved is the order itself.
    """
    with transaction(OrdersBatch) as batch:
        order = find.lock_own_order(batch, order_id, None)
        return approve.approve_order(batch, order, caller().subject)


@blp.post("/orders/<uuid:order_id>/decline")
@scope("orders:operate")
@idempotent
@blp.response(200, schemas.OrderResponse)
def decline_order(order_id: UUID) -> Order:
    """Reject an order that waits for approval; what was paid is refunded in full.

    The answer for an order that is already declined is the order itself.
    """
    with transaction(OrdersBatch) as batch:
        order = find.lock_own_order(batch, order_id, None)
        return approve.decline_order(batch, order)
