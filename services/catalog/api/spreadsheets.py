"""Routes for CSV: an export is what the import takes."""

from typing import Any

from flask import Response, request

from services.catalog.schemas import stock as schemas
from services.catalog.use_cases.spreadsheets import lots, products, stock
from services.catalog.use_cases.spreadsheets.reading import Outcome
from shared.errors import BadRequest
from shared.web import Blueprint, caller, idempotent, reading, scope, transaction

blp = Blueprint(
    "spreadsheets",
    __name__,
    url_prefix="/api/catalog/v1",
    description="Products, lots and stock as CSV files, in UTF-8, with a header.",
)


def _file(*lines: str) -> dict[str, Any]:
    """Return how the document explains a file: by an example, since no schema describes CSV."""
    return {"required": True, "content": {"text/csv": {"example": "\n".join((*lines, ""))}}}


PRODUCTS = _file(
    "product,name_zh,name_bo,name_en,category,perishable,shelf_life_days,storage,"
    "sku,grade,unit,pack_quantity,min_life_days,gtin",
    'MATSUTAKE-FRESH,松茸（鲜）,,"Matsutake, fresh",fungi,yes,5,0-4 C,MATSUTAKE-FRESH-1,1,g,500,2,',
)
LOTS = _file(
    "lot,sku,producer,harvest_date,best_before,origin,status",
    "MT-20260820-001,MATSUTAKE-FRESH-1,P-BAHE-001,2026-08-20,2026-08-25,540421103,released",
)
STOCK = _file("lot,location,on_hand", "MT-20260820-001,540421103,12500")


class NotCsv(BadRequest):
    """Raised when a file is not sent as text/csv in UTF-8."""


def _text() -> str:
    if request.mimetype != "text/csv":
        raise NotCsv("Send the file with Content-Type: text/csv.")
    try:
        return request.get_data().decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotCsv(f"The file is not in UTF-8: {error.reason} at byte {error.start}.") from error


def _answer(text: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(text, mimetype="text/csv", headers=headers)


@blp.post("/imports/products")
@scope("catalog:write")
@idempotent
@blp.arguments(schemas.ImportRequest, location="query")
@blp.response(200, schemas.ImportResponse)
@blp.doc(requestBody=PRODUCTS)
def import_products(import_in: dict[str, Any]) -> Outcome:
    """List the products of a file, one row per variant, or change those that are listed.

    All rows are imported or none. Mistakes are listed by row and column, at once for the whole
    file; with `dry_run` they are only listed.
    """
    with transaction() as session:
        return products.import_products(session, _text(), **import_in)


@blp.post("/imports/lots")
@scope("stock:write")
@idempotent
@blp.arguments(schemas.ImportRequest, location="query")
@blp.response(200, schemas.ImportResponse)
@blp.doc(requestBody=LOTS)
def import_lots(import_in: dict[str, Any]) -> Outcome:
    """Record the lots of a file and take them on their way: inspected, released.

    All rows are imported or none. Mistakes are listed by row and column, at once for the whole
    file; with `dry_run` they are only listed.
    """
    with transaction() as session:
        return lots.import_lots(session, _text(), actor=caller().subject, **import_in)


@blp.post("/imports/stock")
@scope("stock:write")
@idempotent
@blp.arguments(schemas.ImportRequest, location="query")
@blp.response(200, schemas.ImportResponse)
@blp.doc(requestBody=STOCK)
def import_stock(import_in: dict[str, Any]) -> Outcome:
    """Bring stock to what was counted: what is new is received, the rest adjusted.

    `on_hand` counts all that lies at the location, also what is promised. All rows are
    imported or none. Mistakes are listed by row and column, at once for the whole file; with
    `dry_run` they are only listed.
    """
    with transaction() as session:
        return stock.import_stock(session, _text(), actor=caller().subject, **import_in)


@blp.get("/exports/products.csv")
@scope("stock:read")
@blp.response(200, content_type="text/csv", schema={"type": "string"})
def export_products() -> Response:
    """Export the listed products as `imports/products` takes them."""
    with reading() as session:
        return _answer(products.export_products(session), "products")


@blp.get("/exports/lots.csv")
@scope("stock:read")
@blp.response(200, content_type="text/csv", schema={"type": "string"})
def export_lots() -> Response:
    """Export all lots as `imports/lots` takes them."""
    with reading() as session:
        return _answer(lots.export_lots(session), "lots")


@blp.get("/exports/stock.csv")
@scope("stock:read")
@blp.response(200, content_type="text/csv", schema={"type": "string"})
def export_stock() -> Response:
    """Export what lies where as `imports/stock` takes it."""
    with reading() as session:
        return _answer(stock.export_stock(session), "stock")
