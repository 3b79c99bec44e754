"""Routes for products, their variants and prices."""

from typing import Any
from uuid import UUID

from services.catalog.batch import CatalogBatch
from services.catalog.models import Price, Product
from services.catalog.rules import readable_channels
from services.catalog.schemas.goods import products as schemas
from services.catalog.use_cases.goods import prices, products
from shared.events import CHANNELS
from shared.runtime.paging import Page, changes, page
from shared.web import (
    Blueprint,
    caller,
    idempotent,
    optional_token,
    public,
    reading,
    scope,
    transaction,
)
from shared.web.paging import changes_page_of, page_arguments

blp = Blueprint(
    "products",
    __name__,
    url_prefix="/api/catalog/v1",
    description="Products, the grades and packs they are sold in, and their prices.",
)


@blp.post("/products")
@scope("catalog:write")
@idempotent
@blp.arguments(schemas.ListProductRequest, example=schemas.PRODUCT_EXAMPLE)
@blp.response(201, schemas.ProductResponse)
def list_product(product_in: dict[str, Any]) -> Product:
    """Put a product with its variants on sale.

    If a product with equal content exists, the answer is that product. To change a product, import
    products as CSV.
    """
    with transaction(CatalogBatch) as batch:
        return products.list_product(batch, **product_in)


@blp.get("/products")
@public
@blp.arguments(schemas.ListProductsRequest, location="query")
@blp.response(200, changes_page_of(schemas.ProductResponse))
def list_products(query: dict[str, Any]) -> Page:
    """List products, in the order in which they were put on sale.

    With `changed_since` the list has the products that changed, their variants included, but not
    their prices: prices change by the event `price_changed`.
    """
    arguments = page_arguments(query)
    since = query.pop("changed_since", None)
    chosen = products.select_products(**query)
    with reading() as session:
        if since is not None:
            return changes(
                session, chosen, Product.changed_at, Product.id, since=since, **arguments
            )
        return page(session, chosen, Product.id, **arguments)


@blp.get("/products/<uuid:product_id>")
@public
@blp.response(200, schemas.ProductResponse)
def show_product(product_id: UUID) -> Product:
    """Show a product with its variants."""
    with reading() as session:
        return products.get_product(session, product_id)


@blp.post("/products/<uuid:product_id>/withdraw")
@scope("catalog:write")
@idempotent
@blp.response(200, schemas.ProductResponse)
def withdraw_product(product_id: UUID) -> Product:
    """Take a product off the list.

    Orders that were placed before are delivered.
    """
    with transaction(CatalogBatch) as batch:
        return products.withdraw_product(batch, product_id)


@blp.put(f"/variants/<uuid:variant_id>/prices/<any({', '.join(CHANNELS)}):channel>")
@scope("catalog:write")
@blp.arguments(schemas.SetPriceRequest, example=schemas.PRICE_EXAMPLE)
@blp.response(200, schemas.PriceResponse)
def set_price(price_in: dict[str, Any], variant_id: UUID, channel: str) -> Price:
    """Set the price of a variant in one channel, from now or from `valid_from` on.

    Of the prices that have begun and not ended, the one that began last is valid: a price with
    `valid_to` is valid until then, and afterwards the earlier price is valid again.
    """
    with transaction(CatalogBatch) as batch:
        return prices.set_price(batch, variant_id, channel, **price_in)


@blp.get("/variants/<uuid:variant_id>/prices")
@optional_token
@blp.response(200, schemas.PricesResponse)
def list_prices(variant_id: UUID) -> dict[str, Any]:
    """List the prices of a variant by channel and beginning, past ones too.

    Online and station prices are public. Prices of companies and cooperatives are shown to a token
    with the scope of the channel, such as `channel:company`, or one that may set prices.
    """
    with reading() as session:
        return {"items": prices.prices_of(session, variant_id, readable_channels(caller()))}
