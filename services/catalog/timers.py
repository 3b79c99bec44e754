"""What catalog does by the clock. Each timer opens its own short transactions."""

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from itertools import islice
from uuid import UUID

from services.catalog.batch import CatalogBatch
from services.catalog.gauges import add_up_allotments
from services.catalog.rules import SALES_DAYS
from services.catalog.use_cases.stations import (
    allotment_returns,
    daily_sales,
    return_proposals,
    standing_rule_grants,
)
from services.catalog.use_cases.stock import availability
from shared.messaging.batch import transaction
from shared.messaging.service import Timer
from shared.runtime import clock
from shared.runtime.config import Settings, read_integer
from shared.runtime.database import Database

#: How long a sold out allotment stays open: goods that come back over the counter are granted
#: again only while it is.
SOLD_OUT_FOR = timedelta(days=14)


#: Variants of one transaction: each is locked, and has an event.
PUBLISHED_AT_ONCE = 500


def shown_packs(environment: Mapping[str, str]) -> int | None:
    """Return how many packs of a variant are shown as available at most; None: all there are.

    Raises:
        Misconfigured: FARMGATE_CATALOG_SHOWN_PACKS is not a whole number.
    """
    return read_integer(environment, "FARMGATE_CATALOG_SHOWN_PACKS", 0) or None


def publish_availability(database: Database, settings: Settings) -> bool:
    """Publish how much an order could reserve of the variants of which that has changed.

    Returns whether there are more.
    """
    with database.readers() as session:
        found = availability.find_changes(session, shown_packs(settings.environment))
    changes = dict(islice(found.items(), PUBLISHED_AT_ONCE))
    if changes:
        with transaction(database, CatalogBatch) as batch:
            availability.publish(batch, changes)
    return len(found) > len(changes)


def apply_standing_rules(database: Database, settings: Settings) -> None:
    """Grant sites the quantities that their standing rules lack."""
    with database.readers() as session:
        variant_ids = standing_rule_grants.short_variants(session)
    _for_each(database, variant_ids, standing_rule_grants.apply_rules)


def propose_returns(database: Database, settings: Settings) -> None:
    """Propose the return of goods that stations will not sell in time."""
    with database.readers() as session:
        variant_ids = return_proposals.perishing_variants(session)
    _for_each(database, variant_ids, return_proposals.propose_returns)


def tidy(database: Database, settings: Settings) -> bool:
    """Close allotments that were sold out long ago; return whether there are more.

    What was sold on days that no rule looks at any more is forgotten.
    """
    with transaction(database, CatalogBatch) as batch:
        daily_sales.delete_days(batch, clock.today() - 2 * timedelta(days=SALES_DAYS))
    with transaction(database, CatalogBatch) as batch:
        closed = allotment_returns.close_sold_out(batch, clock.now() - SOLD_OUT_FOR)
    return closed == allotment_returns.CLOSED_AT_ONCE


def _for_each(
    database: Database, variant_ids: Iterable[UUID], work: Callable[[CatalogBatch, UUID], int]
) -> None:
    """Do the work for each variant in a transaction of its own; one that fails stops no other.

    Raises:
        whatever the first that failed raised, after the last.
    """
    failures = []
    for variant_id in variant_ids:
        try:
            with transaction(database, CatalogBatch) as batch:
                work(batch, variant_id)
        except Exception as error:
            failures.append(error)
    if failures:
        raise failures[0]


TIMERS = (
    Timer("availability", 1.0, publish_availability),
    Timer("standing rules", 5.0, apply_standing_rules),
    Timer("return proposals", 60.0, propose_returns),
    Timer("tidy stations", 600.0, tidy),
    Timer("add up allotments", 30.0, add_up_allotments),
)
