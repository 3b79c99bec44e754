"""Set standing rules: the quantity of a variant to keep at a site."""

from uuid import UUID

from sqlalchemy import Select, select

from services.catalog.batch import CatalogBatch
from services.catalog.models import StandingRule, Variant
from services.catalog.use_cases.goods.prices import VariantNotFound
from services.catalog.use_cases.stock.locations import open_location_of
from shared.runtime import clock
from shared.runtime.errors import Unprocessable
from shared.runtime.locks import advisory_lock
from shared.runtime.paging import filtered


class LessThanAPack(Unprocessable):
    """Raised when a rule asks for less than one pack, which is the least that is granted."""


def set_rule(
    batch: CatalogBatch, site_id: UUID, variant_id: UUID, keep: int, actor: str
) -> StandingRule:
    """Keep `keep` grams or pieces of a variant at a site from now on; replaces an earlier rule.

    Raises:
        UnknownLocation, LocationClosed: nothing can be granted there.
        VariantNotFound: there is none with this id.
        LessThanAPack: a rule grants whole packs only.
    """
    open_location_of(batch.session, site_id)
    variant = batch.session.get(Variant, variant_id)
    if variant is None:
        raise VariantNotFound(f"There is no variant {variant_id}.")
    if keep < variant.pack_quantity:
        raise LessThanAPack(f"Keep at least one pack, which holds {variant.pack_quantity}.")
    advisory_lock(batch.session, "standing rules")
    rule = batch.session.get(StandingRule, (site_id, variant_id))
    if rule is None:
        rule = StandingRule(site_id=site_id, variant_id=variant_id)
        batch.session.add(rule)
    rule.keep, rule.set_by, rule.set_at = keep, actor, clock.now()
    batch.session.flush()
    return rule


def drop_rule(batch: CatalogBatch, site_id: UUID, variant_id: UUID) -> None:
    """Remove the rule for a variant at a site, if there is one; its allotments stay."""
    advisory_lock(batch.session, "standing rules")
    rule = batch.session.get(StandingRule, (site_id, variant_id))
    if rule is not None:
        batch.session.delete(rule)


def select_rules(
    site_id: UUID | None = None, variant_id: UUID | None = None
) -> Select[StandingRule]:
    """Return the query for standing rules, with the given filters."""
    return filtered(
        select(StandingRule), {StandingRule.site_id: site_id, StandingRule.variant_id: variant_id}
    )
