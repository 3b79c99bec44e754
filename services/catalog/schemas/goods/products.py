"""Requests and answers about products, variants and prices."""

from marshmallow import fields, validate

from services.catalog.schemas.values import (
    MOST_FEN,
    NamesRequest,
    NamesResponse,
    code,
    gtin,
    quantity,
    whole,
)
from shared.events import UNITS
from shared.runtime.schemas import Flag, Moment, Text
from shared.web import RequestSchema, ResponseSchema
from shared.web.paging import ChangesRequest


class VariantRequest(RequestSchema):
    """One way in which a product is sold."""

    sku = code(required=True)
    grade = Text(60, required=True)
    unit = fields.String(required=True, validate=validate.OneOf(UNITS))
    pack_quantity = quantity(required=True)
    min_life_days = whole(0, 36_500, load_default=0)
    gtin = gtin(load_default=None, allow_none=True)


class ListProductRequest(RequestSchema):
    """A product to put on sale."""

    code = code(required=True)
    names = fields.Nested(NamesRequest, required=True)
    category = Text(60, required=True)
    perishable = Flag(required=True)
    shelf_life_days = whole(1, 36_500, load_default=None, allow_none=True)
    storage = Text(60, load_default=None, allow_none=True)
    variants = fields.List(
        fields.Nested(VariantRequest), required=True, validate=validate.Length(min=1, max=200)
    )


#: A product with one variant, as the document shows it.
PRODUCT_EXAMPLE = {
    "code": "MATSUTAKE-FRESH",
    "names": {"zh": "松茸（鲜）", "en": "Matsutake, fresh"},
    "category": "fungi",
    "perishable": True,
    "shelf_life_days": 5,
    "storage": "0-4 C",
    "variants": [
        {
            "sku": "MATSUTAKE-FRESH-1",
            "grade": "1",
            "unit": "g",
            "pack_quantity": 500,
            "min_life_days": 2,
        }
    ],
}


class ListProductsRequest(ChangesRequest):
    """Which products to show."""

    code = Text(40)
    category = Text(60)
    status = fields.String(validate=validate.OneOf(("listed", "withdrawn")))


class VariantResponse(ResponseSchema):
    """One way in which a product is sold."""

    variant_id = fields.UUID(attribute="id", required=True)
    sku = fields.String(required=True)
    grade = fields.String(required=True)
    unit = fields.String(required=True)
    pack_quantity = fields.Integer(required=True)
    min_life_days = fields.Integer(required=True)
    gtin = fields.String(required=True, allow_none=True)


class ProductResponse(ResponseSchema):
    """A product with all its variants."""

    product_id = fields.UUID(attribute="id", required=True)
    code = fields.String(required=True)
    names = fields.Nested(NamesResponse, required=True)
    category = fields.String(required=True)
    perishable = fields.Boolean(required=True)
    shelf_life_days = fields.Integer(required=True, allow_none=True)
    storage = fields.String(required=True, allow_none=True)
    status = fields.String(required=True)
    changed_at = fields.AwareDateTime(required=True, allow_none=True)
    variants = fields.List(fields.Nested(VariantResponse), required=True)


class SetPriceRequest(RequestSchema):
    """What `price_unit` grams or pieces cost, in fen, and when."""

    price_fen = whole(1, MOST_FEN, required=True)
    price_unit = quantity(required=True)
    valid_from = Moment(load_default=None, allow_none=True)
    valid_to = Moment(load_default=None, allow_none=True)


#: 68 yuan for 500 g, as the document shows it.
PRICE_EXAMPLE = {"price_fen": 6800, "price_unit": 500, "valid_from": "2026-08-01T00:00:00Z"}


class PriceResponse(ResponseSchema):
    """What `price_unit` grams or pieces cost, in fen.

    Of the prices that have begun and not ended, the one that began last is valid.
    """

    price_id = fields.UUID(attribute="id", required=True)
    variant_id = fields.UUID(required=True)
    channel = fields.String(required=True)
    price_fen = fields.Integer(required=True)
    price_unit = fields.Integer(required=True)
    valid_from = fields.AwareDateTime(required=True)
    valid_to = fields.AwareDateTime(required=True, allow_none=True)


class PricesResponse(ResponseSchema):
    """All prices of a variant, past ones too."""

    items = fields.List(fields.Nested(PriceResponse), required=True)
