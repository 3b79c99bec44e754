"""Requests and answers of the routes of orders."""

from typing import Any

from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from services.orders.rules import external_refs, people, prices
from services.orders.rules.order_status import FulfilmentState, OrderState, PaymentState
from shared.events import CHANNELS, PAYMENT_METHODS
from shared.runtime import phones
from shared.runtime.schemas import Flag, Moment, Parts, Text, matching
from shared.web import RequestSchema, ResponseSchema
from shared.web.paging import ChangesRequest

#: Orders of one request at most.
MOST_AT_ONCE = 100
#: A buyer's or a partner's id.
_ID = "[A-Za-z0-9][A-Za-z0-9._:|-]{0,63}"


def _one_of(choices: tuple[str, ...], **options: Any) -> fields.String:
    return fields.String(validate=validate.OneOf(choices), **options)


def _fen(least: int = 0, **options: Any) -> fields.Integer:
    within = validate.Range(least, prices.MOST_TOTAL_FEN)
    return fields.Integer(strict=True, validate=within, **options)


def _buyer_id(**options: Any) -> fields.String:
    says = "1 to 64 letters, digits or . _ : | -; an id, never a name or a phone."
    return matching(_ID, says, **options)


def _external_ref(**options: Any) -> fields.String:
    says = "1 to 64 letters, digits or . _ : / # | -; published, so no name and no phone."
    return matching(external_refs.PATTERN, says, **options)


def _code(**options: Any) -> fields.String:
    # A code, since it is published: free text would sooner or later name a person.
    # With seven digits, it could be a telephone number.
    says = "A code of up to 40 small letters, _ and at most 6 digits, such as changed_mind."
    return matching("(?!([a-z_]*[0-9]){7})[a-z][a-z0-9_]{0,39}", says, **options)


class PlaceLineRequest(RequestSchema):
    """One variant and how much of it."""

    variant_id = fields.UUID(required=True)
    quantity = fields.Integer(
        required=True,
        strict=True,
        validate=validate.Range(1, prices.MOST_QUANTITY),
        metadata={"description": "Grams or pieces, a multiple of the variant's pack_quantity."},
    )
    line_total_fen = _fen(
        load_default=None,
        allow_none=True,
        metadata={"description": "What the buyer was shown; 409 price-changed if it differs."},
    )


class ContactRequest(RequestSchema):
    """How to reach the buyer. Orders passes it on by event and does not store it."""

    name = Text(100, required=True)
    phone = Text(40, required=True)
    address = Text(300, load_default=None, allow_none=True)
    language = _one_of(people.LANGUAGES, load_default="zh")

    @post_load
    def _normal(self, contact: dict[str, Any], **_: Any) -> dict[str, Any]:
        try:
            return contact | {"phone": phones.e164(contact["phone"])}
        except ValueError as error:
            raise ValidationError(str(error), "phone") from error


class PlaceOrderRequest(RequestSchema):
    """An order. Without `buyer_id` it is a guest's, who reads it with the answer's secret."""

    channel = _one_of(
        CHANNELS,
        load_default=None,
        allow_none=True,
        metadata={
            "description": "A channel that the token allows; left out: its only one, or online."
        },
    )
    payment_method = _one_of(PAYMENT_METHODS, required=True)
    site_id = fields.UUID(
        required=True,
        metadata={"description": "The site that delivers, or where the buyer collects."},
    )
    collect = Flag(
        required=True,
        metadata={"description": "True: the buyer comes to the site. False: it is delivered."},
    )
    lines = fields.List(
        fields.Nested(PlaceLineRequest),
        required=True,
        validate=validate.Length(1, prices.MOST_LINES),
    )
    contact = fields.Nested(ContactRequest, required=True)
    #: The token decides, too: see `rules.callers`.
    buyer_id = _buyer_id(load_default=None, allow_none=True)
    #: Only a partner's token gives one: see `rules.external_refs`.
    external_ref = _external_ref(load_default=None, allow_none=True)

    @validates_schema
    def _deliverable(self, order: dict[str, Any], **_: Any) -> None:
        if not order["collect"] and not order["contact"]["address"]:
            raise ValidationError(
                {"contact": {"address": ["Needed for delivery; or set collect to true."]}}
            )


class PlaceOrdersRequest(RequestSchema):
    """Up to 100 orders, each of which is validated and placed by itself."""

    orders = Parts(MOST_AT_ONCE, {"$ref": "#/components/schemas/PlaceOrderRequest"})


#: A guest's order, as the document shows it.
ORDER_EXAMPLE = {
    "channel": "online",
    "payment_method": "cash_on_delivery",
    "site_id": "0198d1f2-6a3b-7c4d-8e5f-0123456789ab",
    "collect": False,
    "lines": [
        {
            "variant_id": "0198d1f2-6a3b-7c4d-8e5f-0123456789ac",
            "quantity": 1000,
            "line_total_fen": 13600,
        }
    ],
    "contact": {
        "name": "卓玛",
        "phone": "+86 138 0013 8000",
        "address": "工布江达县巴河镇 1 号",
        "language": "zh",
    },
}


#: Two orders of a partner, as the document shows them.
ORDERS_EXAMPLE = {
    "orders": [
        ORDER_EXAMPLE | {"external_ref": "SO-2026-000417", "buyer_id": "b-17"},
        ORDER_EXAMPLE | {"external_ref": "SO-2026-000418"},
    ]
}


class ListOrdersRequest(ChangesRequest):
    """Which orders are listed; all filters given must hold."""

    state = fields.Enum(OrderState, by_value=True)
    channel = _one_of(CHANNELS)
    awaits_approval = fields.Boolean()
    buyer_id = _buyer_id()
    partner = matching(_ID, "A partner's id: the subject of its token.")
    external_ref = _external_ref()
    placed_from = Moment(metadata={"description": "At this moment or later."})
    placed_to = Moment(metadata={"description": "Before this moment."})
    q = matching(
        external_refs.PATTERN, "The beginning of a reference, such as ORD-7K, or of external_ref."
    )


class CancelOrderRequest(RequestSchema):
    """Why the order is cancelled."""

    reason = _code(required=True)


class TakenLotResponse(ResponseSchema):
    """What a line takes from one lot."""

    lot_id = fields.UUID(required=True)
    lot_code = fields.String(required=True)
    location_id = fields.UUID(required=True)
    producer_id = fields.UUID(required=True)
    quantity = fields.Integer(required=True)


class OrderLineResponse(ResponseSchema):
    """One variant of an order, at the price it had when the order was placed."""

    line_no = fields.Integer(required=True)
    variant_id = fields.UUID(required=True)
    quantity = fields.Integer(required=True)
    price_fen = fields.Integer(required=True)
    price_unit = fields.Integer(required=True)
    line_total_fen = fields.Integer(required=True)
    lots = fields.List(
        fields.Nested(TakenLotResponse),
        required=True,
        allow_none=True,
        metadata={"description": "Null until stock is reserved."},
    )


class ShortfallResponse(ResponseSchema):
    """A line that the stock did not cover, and the quantity that was available."""

    line_no = fields.Integer(required=True)
    variant_id = fields.UUID(required=True)
    requested = fields.Integer(required=True)
    available = fields.Integer(required=True)


class OrderResponse(ResponseSchema):
    """An order, with one state each for the promise (`state`), the payment and the goods."""

    order_id = fields.UUID(required=True, attribute="id")
    order_ref = fields.String(required=True)
    channel = fields.String(required=True)
    buyer_id = fields.String(required=True, allow_none=True)
    partner = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The partner that placed it for its own buyers."},
    )
    external_ref = fields.String(
        required=True, allow_none=True, metadata={"description": "The partner's own number of it."}
    )
    site_id = fields.UUID(required=True)
    collect = fields.Boolean(required=True)
    masked_phone = fields.String(required=True)
    payment_method = fields.String(required=True)
    state = fields.Enum(OrderState, by_value=True, required=True)
    payment_state = fields.Enum(PaymentState, by_value=True, required=True)
    fulfilment_state = fields.Enum(
        FulfilmentState,
        by_value=True,
        required=True,
        allow_none=True,
        metadata={"description": "The last state from logistics; null before there is a shipment."},
    )
    awaits_approval = fields.Boolean(
        required=True,
        metadata={"description": "It waits for an operator before it asks for its stock."},
    )
    approval_reason = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "open_orders, open_value: the buyer, the telephone or the caller had "
            "too many unpaid orders, or of too much value. others_orders: other buyers had too "
            "many with the same telephone. null: no approval was needed."
        },
    )
    total_fen = fields.Integer(required=True)
    paid_fen = fields.Integer(required=True)
    refunded_fen = fields.Integer(required=True)
    difference_fen = fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": "Money kept minus the total, once the buyer has the goods."},
    )
    reason = fields.String(required=True, allow_none=True)
    shortfalls = fields.List(fields.Nested(ShortfallResponse), required=True, allow_none=True)
    shipment_id = fields.UUID(required=True, allow_none=True)
    shipment_ref = fields.String(required=True, allow_none=True)
    promised_on = fields.Date(required=True, allow_none=True)
    placed_at = fields.AwareDateTime(required=True)
    decided_at = fields.AwareDateTime(required=True, allow_none=True)
    changed_at = fields.AwareDateTime(required=True)
    expires_at = fields.AwareDateTime(
        required=True,
        allow_none=True,
        metadata={"description": "The goods are held for the payment until this moment."},
    )
    lines = fields.List(fields.Nested(OrderLineResponse), required=True)


class PlacedOrderResponse(OrderResponse):
    """An order just placed."""

    guest_secret = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Lets the guest read the order without a token; not shown again."},
    )

    def get_attribute(self, obj: Any, attr: str, default: Any) -> Any:
        """Read the secret from beside the order, everything else from the order itself."""
        source = obj if attr == "guest_secret" else obj.order
        return super().get_attribute(source, attr, default)


class OutcomeResponse(ResponseSchema):
    """What became of one order of several."""

    index = fields.Integer(
        required=True, metadata={"description": "The position in the request, from 0."}
    )
    status = fields.Integer(
        required=True,
        metadata={"description": "The status with which POST /orders would have answered."},
    )
    order = fields.Nested(
        PlacedOrderResponse,
        required=True,
        allow_none=True,
        metadata={"description": "The order; null: it was refused."},
    )
    problem = fields.Raw(
        required=True,
        allow_none=True,
        metadata={
            "description": "Why it was refused, as POST /orders would have answered; null: it was "
            "not.",
            "anyOf": [{"$ref": "#/components/schemas/Problem"}, {"type": "null"}],
        },
    )


class OutcomesResponse(ResponseSchema):
    """What became of each order, in the order of the request."""

    outcomes = fields.List(fields.Nested(OutcomeResponse), required=True)


class CountsResponse(ResponseSchema):
    """How many orders are in each state."""

    total = fields.Integer(required=True)
    states = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
