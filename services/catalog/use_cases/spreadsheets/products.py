"""Products as CSV: one row per variant, the product's own columns the same in each of its rows."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from services.catalog.models import Lot, Product, Variant
from services.catalog.use_cases.products import PRODUCT_FACTS, VARIANT_FACTS, say_listed
from services.catalog.use_cases.spreadsheets.reading import (
    MOST_QUANTITY,
    Column,
    Outcome,
    Row,
    RowError,
    code,
    one_of,
    read_rows,
    whole,
    words,
    write_rows,
    yes_or_no,
)
from shared.events import UNITS
from shared.rows import lock_rows, locked, take_turns

COLUMNS = {
    "product": Column(code),
    "name_zh": Column(words),
    "name_bo": Column(words, required=False),
    "name_en": Column(words, required=False),
    "category": Column(words),
    "perishable": Column(yes_or_no),
    "shelf_life_days": Column(whole(1, 36_500), required=False),
    "storage": Column(words, required=False),
    "sku": Column(code),
    "grade": Column(words),
    "unit": Column(one_of(*UNITS)),
    "pack_quantity": Column(whole(1, MOST_QUANTITY)),
    "min_life_days": Column(whole(0, 36_500), required=False),
    "gtin": Column(words, required=False),
}


def import_products(session: Session, text: str, dry_run: bool) -> Outcome:
    """List the products of a file, or change those that are listed; variants are never removed.

    Raises:
        ImportRefused: a row is wrong; nothing was written.
    """
    rows, errors = read_rows(text, COLUMNS)
    outcome = Outcome(rows=len(rows), errors=errors, dry_run=dry_run)
    take_turns(session, "products")
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.cells["product"], []).append(row)
    lock_rows(session, Product.code, groups)
    _check_groups(groups, outcome)
    _check_variants(session, rows, outcome)
    outcome.refuse_if_wrong()
    if outcome.errors:
        return outcome
    for product_code, group in groups.items():
        _put(session, product_code, group, outcome)
    return outcome


def _check_groups(groups: Mapping[str, list[Row]], outcome: Outcome) -> None:
    for product_code, group in groups.items():
        first = _product_facts(group[0])
        for row in group[1:]:
            if _product_facts(row) != first:
                outcome.errors.append(
                    RowError(
                        row.number,
                        "product",
                        f"{product_code} is described otherwise in row {group[0].number}",
                    )
                )


def _check_variants(session: Session, rows: list[Row], outcome: Outcome) -> None:
    known = {
        variant.sku: variant
        for variant in session.scalars(
            select(Variant)
            .where(Variant.sku.in_([row.cells["sku"] for row in rows]))
            .options(selectinload(Variant.product))
        )
    }
    in_stock = set(
        session.scalars(
            select(Lot.variant_id)
            .where(Lot.variant_id.in_([variant.id for variant in known.values()]))
            .distinct()
        )
    )
    first_rows: dict[str, int] = {}
    for row in rows:
        sku = row.cells["sku"]
        if sku in first_rows:
            outcome.errors.append(
                RowError(row.number, "sku", f"{sku} is in row {first_rows[sku]} already")
            )
            continue
        first_rows[sku] = row.number
        variant = known.get(sku)
        if variant is None:
            continue
        if variant.product.code != row.cells["product"]:
            outcome.errors.append(
                RowError(row.number, "sku", f"{sku} belongs to {variant.product.code}")
            )
        elif variant.unit != row.cells["unit"] and variant.id in in_stock:
            # Grams that become pieces would turn 5,000 g in stock into 5,000 pieces.
            outcome.errors.append(
                RowError(row.number, "unit", f"{sku} has lots counted in {variant.unit}")
            )


def _product_facts(row: Row) -> dict[str, Any]:
    cells = row.cells
    names = {"zh": cells["name_zh"], "bo": cells["name_bo"], "en": cells["name_en"]}
    facts = {name: cells[name] for name in PRODUCT_FACTS if name != "names"}
    return facts | {"names": {key: name for key, name in names.items() if name is not None}}


def _variant_facts(row: Row) -> dict[str, Any]:
    facts = {name: row.cells[name] for name in VARIANT_FACTS}
    return facts | {"min_life_days": facts["min_life_days"] or 0}


def _put(session: Session, product_code: str, group: list[Row], outcome: Outcome) -> None:
    product: Product | None = locked(session, Product.code, product_code)
    facts = _product_facts(group[0]) | {"status": "listed"}
    product_changed = product is None or _differs(product, facts)
    changed = product_changed
    variants = {} if product is None else {variant.sku: variant for variant in product.variants}
    for row in group:
        variant = variants.get(row.cells["sku"])
        if variant is None:
            outcome.created += 1
        elif product_changed or _differs(variant, _variant_facts(row)):
            outcome.changed += 1
        else:
            outcome.unchanged += 1
            continue
        changed = True
    if outcome.dry_run or not changed:
        return
    if product is None:
        product = Product(code=product_code, variants=[])
        session.add(product)
    _apply(product, facts)
    for row in group:
        variant = variants.get(row.cells["sku"])
        if variant is None:
            variant = Variant(sku=row.cells["sku"])
            product.variants.append(variant)
        _apply(variant, _variant_facts(row))
    session.flush()
    say_listed(session, product)


def _differs(row: Any, facts: Mapping[str, Any]) -> bool:
    return any(getattr(row, name) != value for name, value in facts.items())


def _apply(row: Any, facts: Mapping[str, Any]) -> None:
    for name, value in facts.items():
        setattr(row, name, value)


def export_products(session: Session) -> str:
    """Return all listed products as the CSV that `import_products` takes."""
    products = session.scalars(
        select(Product).where(Product.status == "listed").order_by(Product.code)
    )
    return write_rows(
        COLUMNS,
        (
            (
                product.code,
                product.names["zh"],
                product.names.get("bo"),
                product.names.get("en"),
                product.category,
                product.perishable,
                product.shelf_life_days,
                product.storage,
                variant.sku,
                variant.grade,
                variant.unit,
                variant.pack_quantity,
                variant.min_life_days,
                variant.gtin,
            )
            for product in products
            for variant in product.variants
        ),
    )
