"""Products as CSV: one row per variant, the product's own columns the same in each of its rows."""

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from services.catalog.batch import CatalogBatch
from services.catalog.models import Lot, Product, Variant
from services.catalog.use_cases.goods.products import PRODUCT_FACTS, VARIANT_FACTS, record_listed
from shared.runtime.ids import new_id
from shared.runtime.locks import advisory_lock
from shared.runtime.spreadsheets import Outcome, Row, Sheet

_NAMES = {"name_zh": "zh", "name_bo": "bo", "name_en": "en"}


def import_products(batch: CatalogBatch, sheet: Sheet, dry_run: bool) -> Outcome:
    """List the products of a file, or change those that are listed; variants are never removed.

    A column that the file does not have leaves its values as they are; an empty cell clears one.

    Raises:
        ImportRefused: a row is wrong; nothing was written.
    """
    outcome = sheet.outcome(dry_run)
    advisory_lock(batch.session, "products")
    groups: dict[str, list[Row]] = {}
    for row in sheet.rows:
        groups.setdefault(row.cells["product"], []).append(row)
    batch.load_for_update(Product.code, groups)
    _check_groups(groups, outcome)
    _check_variants(batch.session, sheet.rows, outcome)
    _check_keeping(batch, groups, outcome)
    outcome.refuse_errors()
    if outcome.errors:
        return outcome
    for product_code, group in groups.items():
        _put(batch, product_code, group, outcome)
    return outcome


def _check_groups(groups: Mapping[str, list[Row]], outcome: Outcome) -> None:
    for product_code, group in groups.items():
        first = _product_cells(group[0])
        for row in group[1:]:
            if _product_cells(row) != first:
                message = f"{product_code} is described otherwise in line {group[0].line}"
                outcome.add_error(row.line, "product", message)


def _product_cells(row: Row) -> dict[str, Any]:
    return {name: row.cells.get(name) for name in (*PRODUCT_FACTS, *_NAMES)}


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
    first_lines: dict[str, int] = {}
    for row in rows:
        sku = row.cells["sku"]
        if sku in first_lines:
            outcome.add_error(row.line, "sku", f"{sku} is in line {first_lines[sku]} already")
            continue
        first_lines[sku] = row.line
        variant = known.get(sku)
        if variant is None:
            continue
        if variant.product.code != row.cells["product"]:
            outcome.add_error(row.line, "sku", f"{sku} belongs to {variant.product.code}")
        elif variant.unit != row.cells["unit"] and variant.id in in_stock:
            # Grams that become pieces would turn 5,000 g in stock into 5,000 pieces.
            outcome.add_error(row.line, "unit", f"{sku} has lots counted in {variant.unit}")


def _check_keeping(batch: CatalogBatch, groups: Mapping[str, list[Row]], outcome: Outcome) -> None:
    """Refuse to make a product perishable whose lots have no date: they could be sold for ever."""
    products = {code: batch.get_for_update(Product.code, code) for code in groups}
    spoiling = {
        product.id: groups[code][0].line
        for code, product in products.items()
        if product and groups[code][0].cells["perishable"] and not product.perishable
    }
    undated = (
        select(Variant.product_id, Lot.code)
        .join(Lot, Lot.variant_id == Variant.id)
        .where(Variant.product_id.in_(spoiling), Lot.best_before.is_(None))
        .order_by(Lot.code)
    )
    for product_id, lot in batch.session.execute(undated) if spoiling else ():
        message = f"lot {lot} has no best-before date; it was recorded as one that does not spoil"
        outcome.add_error(spoiling[product_id], "perishable", message)


def _product_facts(row: Row, product: Product | None) -> dict[str, Any]:
    """Return the fields of a product in the file; a new product gets all fields."""
    facts = {name: row.cells[name] for name in PRODUCT_FACTS if name in row.cells}
    if product is None:
        facts = {name: facts.get(name) for name in PRODUCT_FACTS}
    names = dict(product.names) if product else {}
    names |= {key: row.cells[name] for name, key in _NAMES.items() if name in row.cells}
    facts["names"] = {key: name for key, name in names.items() if name is not None}
    return facts | {"status": "listed"}


def _variant_facts(row: Row, variant: Variant | None) -> dict[str, Any]:
    facts = {name: row.cells[name] for name in VARIANT_FACTS if name in row.cells}
    if variant is None:
        facts = {name: facts.get(name) for name in VARIANT_FACTS}
    if "min_life_days" in facts:
        facts["min_life_days"] = facts["min_life_days"] or 0
    return facts


def _put(batch: CatalogBatch, product_code: str, group: list[Row], outcome: Outcome) -> None:
    product: Product | None = batch.get_for_update(Product.code, product_code)
    facts = _product_facts(group[0], product)
    variants = {} if product is None else {variant.sku: variant for variant in product.variants}
    new_facts = [
        (row, variants.get(row.cells["sku"]), _variant_facts(row, variants.get(row.cells["sku"])))
        for row in group
    ]
    product_changed = product is None or outcome.add_changes(
        group[0].line, product_code, _present(product, facts), facts
    )
    changed = product_changed
    for row, variant, values in new_facts:
        if variant is None:
            outcome.created += 1
        elif outcome.add_changes(row.line, variant.sku, _present(variant, values), values):
            outcome.changed += 1
        elif product_changed:
            outcome.changed += 1
            continue
        else:
            outcome.unchanged += 1
            continue
        changed = True
    if outcome.dry_run or not changed:
        return
    if product is None:
        product = Product(id=new_id(), code=product_code, version=0, variants=[])
        batch.session.add(product)
    _apply(product, facts)
    for row, variant, values in new_facts:
        if variant is None:
            variant = Variant(id=new_id(), sku=row.cells["sku"])
            product.variants.append(variant)
        _apply(variant, values)
    record_listed(batch, product)


def _present(row: Any, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in facts}


def _apply(row: Any, facts: Mapping[str, Any]) -> None:
    for name, value in facts.items():
        setattr(row, name, value)


def export_products(session: Session) -> Iterator[tuple[Any, ...]]:
    """Give the rows of all listed products as `import_products` takes them."""
    products = session.scalars(
        select(Product).where(Product.status == "listed").order_by(Product.code)
    )
    for product in products:
        for variant in product.variants:
            yield (
                product.code,
                *(product.names.get(key) for key in _NAMES.values()),
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
