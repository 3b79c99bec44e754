"""The columns of CSV files, each the field of a request."""

from typing import Any

from marshmallow import ValidationError, fields, validate

from services.catalog.rules import LotStatus
from services.catalog.schemas.goods.enterprises import (
    LANGUAGES,
    ContactRequest,
    RegisterEnterpriseRequest,
)
from services.catalog.schemas.goods.products import (
    ListProductRequest,
    SetPriceRequest,
    VariantRequest,
)
from services.catalog.schemas.stock.lots import RecordLotRequest
from services.catalog.schemas.values import MOST_QUANTITY, NamesRequest, code, whole
from shared.events import CHANNELS
from shared.runtime.schemas import Moment
from shared.runtime.spreadsheets import LineError, Sheet, column
from shared.web import RequestSchema


class _LotCells(RequestSchema):
    origin = code(allow_none=True)
    status = fields.String(validate=validate.OneOf(list(LotStatus)), allow_none=True)


class _StockCells(RequestSchema):
    location = code(required=True)
    on_hand = whole(0, MOST_QUANTITY, required=True)
    book = whole(0, MOST_QUANTITY, allow_none=True)
    book_at = Moment(allow_none=True)
    counted_at = Moment(allow_none=True)


class _PriceCells(RequestSchema):
    channel = fields.String(required=True, validate=validate.OneOf(CHANNELS))


class _ContactCells(RequestSchema):
    # Without a phone no language is needed.
    language = fields.String(validate=validate.OneOf(LANGUAGES), allow_none=True)


_NAMES = {
    "name_zh": column(NamesRequest, "zh"),
    "name_bo": column(NamesRequest, "bo"),
    "name_en": column(NamesRequest, "en"),
}

PRODUCTS = {
    "product": column(ListProductRequest, "code"),
    **_NAMES,
    "category": column(ListProductRequest, "category"),
    "perishable": column(ListProductRequest, "perishable"),
    "shelf_life_days": column(ListProductRequest, "shelf_life_days"),
    "storage": column(ListProductRequest, "storage"),
    "sku": column(VariantRequest, "sku"),
    "grade": column(VariantRequest, "grade"),
    "unit": column(VariantRequest, "unit"),
    "pack_quantity": column(VariantRequest, "pack_quantity"),
    "min_life_days": column(VariantRequest, "min_life_days"),
    "gtin": column(VariantRequest, "gtin"),
}
LOTS = {
    "lot": column(RecordLotRequest, "code"),
    "sku": column(VariantRequest, "sku"),
    "producer": column(RegisterEnterpriseRequest, "code"),
    "harvest_date": column(RecordLotRequest, "harvest_date"),
    "best_before": column(RecordLotRequest, "best_before"),
    "origin": column(_LotCells, "origin"),
    "status": column(_LotCells, "status"),
}
STOCK = {
    "lot": column(RecordLotRequest, "code"),
    "location": column(_StockCells, "location"),
    "on_hand": column(_StockCells, "on_hand"),
    "book": column(_StockCells, "book"),
    "book_at": column(_StockCells, "book_at"),
    "counted_at": column(_StockCells, "counted_at"),
}
PRICES = {
    "sku": column(VariantRequest, "sku"),
    "channel": column(_PriceCells, "channel"),
    "price_fen": column(SetPriceRequest, "price_fen"),
    "price_unit": column(SetPriceRequest, "price_unit"),
    "valid_from": column(SetPriceRequest, "valid_from"),
    "valid_to": column(SetPriceRequest, "valid_to"),
}
ENTERPRISES = {
    "enterprise": column(RegisterEnterpriseRequest, "code"),
    **_NAMES,
    "roles": column(RegisterEnterpriseRequest, "roles"),
    "region_code": column(RegisterEnterpriseRequest, "region_code"),
    "licence_no": column(RegisterEnterpriseRequest, "licence_no"),
    "phone": column(ContactRequest, "phone"),
    "language": column(_ContactCells, "language"),
}


def contacts_of(sheet: Sheet) -> dict[int, dict[str, Any]]:
    """Return the contacts of a sheet's enterprises by line; add the mistakes to its errors."""
    contacts = {}
    for row in sheet.rows:
        given = {name: row.cells.get(name) for name in ("phone", "language")}
        if given["phone"] is None and given["language"] is None:
            continue
        try:
            contacts[row.line] = ContactRequest().load(given)
        except ValidationError as error:
            for name, messages in error.normalized_messages().items():
                sheet.errors += [LineError(row.line, name, str(each)) for each in messages]
    return contacts
