"""Routes for CSV: an export is what the import takes."""

from typing import Any

from flask import Response

from services.catalog.schemas import spreadsheets as schemas
from services.catalog.use_cases.spreadsheets import enterprises, lots, prices, products, stock
from shared.spreadsheets import Outcome
from shared.web import Blueprint, caller, idempotent, reading, scope, transaction
from shared.web.spreadsheets import (
    GUIDE,
    ImportRequest,
    ImportResponse,
    answer,
    file,
    takes_file,
)
from shared.web.spreadsheets import sheet as sheet_of

blp = Blueprint(
    "spreadsheets",
    __name__,
    url_prefix="/api/catalog/v1",
    description=f"Enterprises, products, prices, lots and stock as {GUIDE}",
)


PRODUCTS = file(
    ",".join(schemas.PRODUCTS),
    'MATSUTAKE-FRESH,松茸（鲜）,,"Matsutake, fresh",fungi,yes,5,0-4 C,MATSUTAKE-FRESH-1,1,g,500,2,',
)
LOTS = file(
    ",".join(schemas.LOTS),
    "MT-20260820-001,MATSUTAKE-FRESH-1,P-BAHE-001,2026-08-20,2026-08-25,540421103,released",
)
STOCK = file(
    ",".join(schemas.STOCK),
    "MT-20260820-001,540421103,12480,12500,2026-08-20T10:00:00Z,2026-08-20T11:30:00Z",
)
PRICES = file(",".join(schemas.PRICES), "MATSUTAKE-FRESH-1,online,6800,500,2026-08-01T00:00:00Z,")
ENTERPRISES = file(
    ",".join(schemas.ENTERPRISES),
    "P-BAHE-001,巴河镇 扎西,,,producer,540421103,,+86 138 0013 8001,bo",
)


@blp.post("/imports/enterprises")
@scope("catalog:write")
@takes_file
@idempotent
@blp.arguments(ImportRequest, location="query")
@blp.response(200, ImportResponse)
@blp.doc(requestBody=ENTERPRISES)
def import_enterprises(import_in: dict[str, Any]) -> Outcome:
    """Register the enterprises of a file, or change those that are there.

    `roles` are separated by spaces, and none is taken away. Phone and language are passed on to
    whoever writes to the enterprise and are not kept here.
    """
    dry_run = import_in.pop("dry_run")
    sheet = sheet_of(schemas.ENTERPRISES, **import_in)
    contacts = schemas.contacts_of(sheet)
    with transaction() as session:
        return enterprises.import_enterprises(session, sheet, contacts, dry_run)


@blp.post("/imports/products")
@scope("catalog:write")
@takes_file
@idempotent
@blp.arguments(ImportRequest, location="query")
@blp.response(200, ImportResponse)
@blp.doc(requestBody=PRODUCTS)
def import_products(import_in: dict[str, Any]) -> Outcome:
    """List the products of a file, one row per variant, or change those that are listed."""
    dry_run = import_in.pop("dry_run")
    sheet = sheet_of(schemas.PRODUCTS, **import_in)
    with transaction() as session:
        return products.import_products(session, sheet, dry_run)


@blp.post("/imports/prices")
@scope("catalog:write")
@takes_file
@idempotent
@blp.arguments(ImportRequest, location="query")
@blp.response(200, ImportResponse)
@blp.doc(requestBody=PRICES)
def import_prices(import_in: dict[str, Any]) -> Outcome:
    """Set the prices of a file, one row per price; without `valid_from` it holds from now on.

    A moment without an offset from UTC is a time of Asia/Shanghai.
    """
    dry_run = import_in.pop("dry_run")
    sheet = sheet_of(schemas.PRICES, **import_in)
    with transaction() as session:
        return prices.import_prices(session, sheet, dry_run)


@blp.post("/imports/lots")
@scope("stock:write")
@takes_file
@idempotent
@blp.arguments(ImportRequest, location="query")
@blp.response(200, ImportResponse)
@blp.doc(requestBody=LOTS)
def import_lots(import_in: dict[str, Any]) -> Outcome:
    """Record the lots of a file and take them on their way: inspected, released.

    A lot of perishable goods needs a best-before date, or its product a shelf life.
    """
    dry_run = import_in.pop("dry_run")
    sheet = sheet_of(schemas.LOTS, **import_in)
    with transaction() as session:
        return lots.import_lots(session, sheet, caller().subject, dry_run)


@blp.post("/imports/stock")
@scope("stock:write")
@takes_file
@idempotent
@blp.arguments(ImportRequest, location="query")
@blp.response(200, ImportResponse)
@blp.doc(requestBody=STOCK)
def import_stock(import_in: dict[str, Any]) -> Outcome:
    """Bring stock to what was counted: what is new is received, the rest adjusted.

    `on_hand` counts all that lies at the location, also what is promised. `book` and `book_at`
    are what the export said and when; write the moment of a count into `counted_at`, and what
    orders took since is accounted for. A row of which it is not certain what it means for the
    books of now is refused.
    """
    dry_run = import_in.pop("dry_run")
    sheet = sheet_of(schemas.STOCK, **import_in)
    with transaction() as session:
        return stock.import_stock(session, sheet, caller().subject, dry_run)


@blp.get("/exports/enterprises.csv")
@scope("stock:read")
@blp.response(200, content_type="text/csv", schema={"type": "string"})
def export_enterprises() -> Response:
    """Export all enterprises as `imports/enterprises` takes them."""
    with reading() as session:
        rows = enterprises.export_enterprises(session)
        return answer(schemas.ENTERPRISES, rows, "enterprises")


@blp.get("/exports/products.csv")
@scope("stock:read")
@blp.response(200, content_type="text/csv", schema={"type": "string"})
def export_products() -> Response:
    """Export the listed products as `imports/products` takes them."""
    with reading() as session:
        return answer(schemas.PRODUCTS, products.export_products(session), "products")


@blp.get("/exports/prices.csv")
@scope("stock:read")
@blp.response(200, content_type="text/csv", schema={"type": "string"})
def export_prices() -> Response:
    """Export the prices that hold or will hold, as `imports/prices` takes them."""
    with reading() as session:
        return answer(schemas.PRICES, prices.export_prices(session), "prices")


@blp.get("/exports/lots.csv")
@scope("stock:read")
@blp.response(200, content_type="text/csv", schema={"type": "string"})
def export_lots() -> Response:
    """Export all lots as `imports/lots` takes them."""
    with reading() as session:
        return answer(schemas.LOTS, lots.export_lots(session), "lots")


@blp.get("/exports/stock.csv")
@scope("stock:read")
@blp.response(200, content_type="text/csv", schema={"type": "string"})
def export_stock() -> Response:
    """Export what lies where as `imports/stock` takes it."""
    with reading() as session:
        return answer(schemas.STOCK, stock.export_stock(session), "stock")
