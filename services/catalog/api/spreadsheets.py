"""Routes for CSV; an import accepts the file of an export."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy.orm import Session

from services.catalog.batch import CatalogBatch
from services.catalog.rules import readable_channels
from services.catalog.schemas import spreadsheets as schemas
from services.catalog.use_cases.spreadsheets import enterprises, lots, prices, products, stock
from shared.runtime.spreadsheets import Outcome, Sheet
from shared.web import Blueprint, caller, transaction
from shared.web.spreadsheets import GUIDE, exporting, importing

Rows = Iterable[Sequence[Any]]

blp = Blueprint(
    "spreadsheets",
    __name__,
    url_prefix="/api/catalog/v1",
    description=f"Enterprises, products, prices, lots and stock as {GUIDE}",
)


@importing(
    blp,
    "enterprises",
    "catalog:write",
    schemas.ENTERPRISES,
    "P-BAHE-001,巴河镇 扎西,,,producer,540421103,,+86 138 0013 8001,bo",
)
def import_enterprises(sheet: Sheet, dry_run: bool) -> Outcome:
    """Register the enterprises of a file, or change existing ones.

    `roles` are separated by spaces; an import removes no role. Catalog passes phone and language on
    to notifications and does not store them.
    """
    contacts = schemas.contacts_of(sheet)
    with transaction(CatalogBatch) as batch:
        return enterprises.import_enterprises(batch, sheet, contacts, dry_run)


@importing(
    blp,
    "products",
    "catalog:write",
    schemas.PRODUCTS,
    'MATSUTAKE-FRESH,松茸（鲜）,,"Matsutake, fresh",fungi,yes,5,0-4 C,MATSUTAKE-FRESH-1,1,g,500,2,',
)
def import_products(sheet: Sheet, dry_run: bool) -> Outcome:
    """List the products of a file, one row per variant, or change listed ones."""
    with transaction(CatalogBatch) as batch:
        return products.import_products(batch, sheet, dry_run)


@importing(
    blp,
    "prices",
    "catalog:write",
    schemas.PRICES,
    "MATSUTAKE-FRESH-1,online,6800,500,2026-08-01T00:00:00Z,",
)
def import_prices(sheet: Sheet, dry_run: bool) -> Outcome:
    """Set the prices of a file, one row per price; without `valid_from` a price is valid from now.

    A moment without an offset from UTC is a time of Asia/Shanghai.
    """
    with transaction(CatalogBatch) as batch:
        return prices.import_prices(batch, sheet, dry_run)


@importing(
    blp,
    "lots",
    "stock:write",
    schemas.LOTS,
    "MT-20260820-001,MATSUTAKE-FRESH-1,P-BAHE-001,2026-08-20,2026-08-25,540421103,released",
)
def import_lots(sheet: Sheet, dry_run: bool) -> Outcome:
    """Record the lots of a file, and bring them to their `status`, such as released.

    A lot of perishable goods needs a best-before date, or its product a shelf life.
    """
    with transaction(CatalogBatch) as batch:
        return lots.import_lots(batch, sheet, caller().subject, dry_run)


@importing(
    blp,
    "stock",
    "stock:write",
    schemas.STOCK,
    "MT-20260820-001,540421103,12480,12500,2026-08-20T10:00:00Z,2026-08-20T11:30:00Z",
)
def import_stock(sheet: Sheet, dry_run: bool) -> Outcome:
    """Bring stock to the counted quantities: receive new stock, adjust the rest.

    `on_hand` is the whole quantity at the location, with reserved and allotted goods. `book` and
    `book_at` are the quantity and the moment of the export. With the moment of the count in
    `counted_at`, catalog accounts for goods that orders took since. Catalog refuses a row if its
    effect on the present books is not certain.
    """
    with transaction(CatalogBatch) as batch:
        return stock.import_stock(batch, sheet, caller().subject, dry_run)


@exporting(blp, "enterprises", "stock:read", schemas.ENTERPRISES)
def export_enterprises(session: Session) -> Rows:
    """Export all enterprises in the format of `imports/enterprises`."""
    return enterprises.export_enterprises(session)


@exporting(blp, "products", "stock:read", schemas.PRODUCTS)
def export_products(session: Session) -> Rows:
    """Export the listed products in the format of `imports/products`."""
    return products.export_products(session)


@exporting(blp, "prices", "stock:read", schemas.PRICES)
def export_prices(session: Session) -> Rows:
    """Export present and future prices in the format of `imports/prices`.

    Prices of companies and cooperatives are included if the token has the scope of the channel, or
    may set prices.
    """
    return prices.export_prices(session, readable_channels(caller()))


@exporting(blp, "lots", "stock:read", schemas.LOTS)
def export_lots(session: Session) -> Rows:
    """Export all lots in the format of `imports/lots`."""
    return lots.export_lots(session)


@exporting(blp, "stock", "stock:read", schemas.STOCK)
def export_stock(session: Session) -> Rows:
    """Export all stock by location in the format of `imports/stock`."""
    return stock.export_stock(session)
