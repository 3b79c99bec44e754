"""List products with their grades and packs, and withdraw them."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from services.catalog.batch import CatalogBatch
from services.catalog.models import Product, Variant
from shared.events import ListedVariant, Names, ProductListed, ProductWithdrawn
from shared.runtime import clock
from shared.runtime.errors import Conflict, NotFound
from shared.runtime.locks import advisory_lock
from shared.runtime.paging import filtered

#: The fields that describe a product, and a variant besides its SKU.
PRODUCT_FACTS = ("names", "category", "perishable", "shelf_life_days", "storage")
VARIANT_FACTS = ("grade", "unit", "pack_quantity", "min_life_days", "gtin")


class ProductNotFound(NotFound):
    """Raised when no product has this id."""


class ProductCodeTaken(Conflict):
    """Raised when the code belongs to a product with other data."""


class SkuTaken(Conflict):
    """Raised when a SKU belongs to a variant of another product."""


def list_product(
    batch: CatalogBatch, code: str, variants: Sequence[Mapping[str, Any]], **facts: Any
) -> Product:
    """List a product with its variants; the same data again returns the existing one.

    Raises:
        ProductCodeTaken: the code is taken by a product that differs.
        SkuTaken: a SKU is taken by another product.
    """
    advisory_lock(batch.session, "products")
    known = batch.session.scalars(select(Product).where(Product.code == code)).one_or_none()
    if known is not None:
        if not _is_same(known, facts, variants):
            raise ProductCodeTaken(
                f"Code {code} belongs to a product that differs; import products to change it.",
                product_id=str(known.id),
            )
        return known
    skus = [variant["sku"] for variant in variants]
    taken = batch.session.scalars(select(Variant.sku).where(Variant.sku.in_(skus))).first()
    if taken is not None:
        raise SkuTaken(f"SKU {taken} belongs to another product.")
    product = Product(code=code, variants=[Variant(**variant) for variant in variants], **facts)
    batch.session.add(product)
    batch.session.flush()
    record_listed(batch, product)
    return product


def _is_same(
    product: Product, facts: Mapping[str, Any], variants: Sequence[Mapping[str, Any]]
) -> bool:
    known = {
        variant.sku: {name: getattr(variant, name) for name in VARIANT_FACTS}
        for variant in product.variants
    }
    given = {
        variant["sku"]: {name: variant.get(name) for name in VARIANT_FACTS} for variant in variants
    }
    return known == given and all(getattr(product, name) == facts[name] for name in facts)


def record_listed(batch: CatalogBatch, product: Product) -> None:
    """Publish the product as it is now, with all its variants; its row must be new or locked."""
    product.changed_at = clock.now()
    batch.record(
        product,
        ProductListed(
            product_id=product.id,
            code=product.code,
            names=Names(**product.names),
            perishable=product.perishable,
            variants=[
                ListedVariant(
                    variant_id=variant.id,
                    sku=variant.sku,
                    grade=variant.grade,
                    unit=variant.unit,
                    pack_quantity=variant.pack_quantity,
                    storage=product.storage,
                    min_life_days=variant.min_life_days,
                )
                for variant in product.variants
            ],
        ),
    )


def withdraw_product(batch: CatalogBatch, product_id: UUID) -> Product:
    """Withdraw a product from sale; orders that were placed before are delivered.

    Raises:
        ProductNotFound: there is none with this id.
    """
    product: Product | None = batch.get_for_update(Product.id, product_id)
    if product is None:
        raise ProductNotFound(f"There is no product {product_id}.")
    if product.status != "withdrawn":
        product.status, product.changed_at = "withdrawn", clock.now()
        batch.record(product, ProductWithdrawn(product_id=product.id))
    return product


def get_product(session: Session, product_id: UUID) -> Product:
    """Return a product with its variants.

    Raises:
        ProductNotFound: there is none with this id.
    """
    product = session.get(Product, product_id)
    if product is None:
        raise ProductNotFound(f"There is no product {product_id}.")
    return product


def select_products(
    code: str | None = None, category: str | None = None, status: str | None = None
) -> Select[Product]:
    """Return the query for products, with the given filters."""
    return filtered(
        select(Product), {Product.code: code, Product.category: category, Product.status: status}
    )
