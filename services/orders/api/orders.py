"""Routes for orders: placed, read, listed, counted, cancelled."""

from typing import Any
from uuid import UUID

from flask import url_for

from services.orders.api.limits import read_limits
from services.orders.api.waiting import wait_if_preferred
from services.orders.batch import OrdersBatch
from services.orders.models import Order
from services.orders.rules import callers, external_refs
from services.orders.rules.order_status import OrderState
from services.orders.schemas import orders as schemas
from services.orders.use_cases import approve, decide, find, place
from shared.runtime.errors import FarmgateError
from shared.runtime.paging import Page, changes, page
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
from shared.web.paging import changes_page_of, page_arguments
from shared.web.problems import answer_of
from shared.web.requests import validated

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
        NotYourBuyer, UnfitBuyer, UnfitPartner, NotYourChannel, NotYourSite, NotAPartner: the token
            does not allow it.
        UnfitExternalRef: the partner's number must not be published.
    """
    by = caller()
    partner = callers.partner_of(by)
    external_ref = external_refs.checked_ref(partner, order_in["external_ref"])
    buyer_id = callers.buyer_of(by, order_in["buyer_id"])
    channel = callers.channel_of(by, order_in["channel"])
    callers.check_site(by, order_in["site_id"])
    return place.Placement(
        **order_in | {"buyer_id": buyer_id, "channel": channel, "external_ref": external_ref},
        placed_by=by.subject,
        partner=partner,
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
) -> tuple[place.PlacedOrder, int, dict[str, str]]:
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

    A partner (`orders:place_for`, without `orders:operate` and limits to sites) may give its own
    number as `external_ref`, which each event of the order has. A request with the same number is
    the same order for good, whatever its Idempotency-Key: it is answered with the order as it is
    now (202 while catalog decides, then 200), without `guest_secret`. With another content it is
    refused: 409 external-ref-used, which names the order.
    """
    placed = place.place_order(batch, placement)
    headers = {"Location": url_for("orders.show_order", order_id=placed.order.id)}
    return placed, _status_of(placed.order), headers


def _status_of(order: Order) -> int:
    """Return the status of the answer to a placement: 202 until catalog has decided."""
    return 202 if order.state == OrderState.PLACED else 200


_ONE_OF_SEVERAL = schemas.PlaceOrderRequest()


def _placement_or_refusal(order_in: Any) -> place.Placement | FarmgateError:
    try:
        return _placement(validated(_ONE_OF_SEVERAL, order_in))
    except FarmgateError as error:
        return error


@blp.post("/orders/bulk")
@scope("orders:place")
@idempotent
@blp.arguments(schemas.PlaceOrdersRequest, example=schemas.ORDERS_EXAMPLE)
@blp.response(200, schemas.OutcomesResponse)
def place_orders(orders_in: dict[str, Any]) -> dict[str, Any]:
    """Place up to 100 orders, each with an outcome of its own.

    The orders that can be placed are placed in one transaction, before catalog decides. An order
    that is refused does not affect the others: its outcome has the problem with which POST /orders
    would have answered. Give each order an `external_ref`: then you may send it again, alone or
    with other orders, as often as you like, and it is placed once.
    """
    placements = [_placement_or_refusal(each) for each in orders_in["orders"]]
    with transaction(OrdersBatch) as batch:
        placed = place.place_orders(batch, placements)
        return {"outcomes": [_outcome(index, each) for index, each in enumerate(placed)]}


def _outcome(index: int, placed: place.PlacedOrder | FarmgateError) -> dict[str, Any]:
    outcome: dict[str, Any] = {"index": index, "order": None, "problem": None}
    if isinstance(placed, FarmgateError):
        problem = answer_of(placed)
        return outcome | {"status": problem.status_code, "problem": problem.get_json()}
    return outcome | {"status": _status_of(placed.order), "order": placed}


@blp.get("/orders")
@scope("orders:read")
@blp.arguments(schemas.ListOrdersRequest, location="query")
@blp.response(200, changes_page_of(schemas.OrderResponse))
def list_orders(query: dict[str, Any]) -> Page[Order]:
    """List orders, the newest first: your own, or all with the scope orders:operate.

    With `changed_since` the list has the orders that changed, the oldest change first, and
    `next_changed_since`: a mirror that reads all pages, and begins the next reading there, misses
    no change.
    """
    arguments = page_arguments(query)
    since = query.pop("changed_since", None)
    if "buyer_id" in query and _owner() and caller().may(callers.OWN_BUYERS):
        query["buyer_id"] = callers.own_buyer(caller(), query["buyer_id"])
    with reading() as session:
        chosen = find.select_orders(_owner(), **query)
        if since is not None:
            return changes(session, chosen, Order.changed_at, Order.id, since=since, **arguments)
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
