"""Stock in figures for dashboards, added up by the clock and not at each scrape."""

from prometheus_client import Gauge
from sqlalchemy import func, select

from services.catalog.models import Allotment, Location, Variant
from services.catalog.rules.stations.allotments import AllotmentStatus
from shared.runtime.config import Settings
from shared.runtime.database import Database

_allotted = Gauge(
    "farmgate_allotted_stock",
    "What stations may still sell while cut off, in grams or pieces.",
    ["service", "site", "unit"],
    multiprocess_mode="livemostrecent",
)
_seen: set[tuple[str, str]] = set()


def add_up_allotments(database: Database, settings: Settings) -> None:
    """Add up what the open allotments of each site have left."""
    with database.readers() as session:
        summed = session.execute(
            select(Location.code, Variant.unit, func.sum(Allotment.remaining))
            .join_from(Allotment, Location, Allotment.site_id == Location.id)
            .join(Variant, Allotment.variant_id == Variant.id)
            # In these words, since it is the condition of the index.
            .where(Allotment.status != AllotmentStatus.CLOSED)
            .group_by(Location.code, Variant.unit)
        ).all()
    now: dict[tuple[str, str], int] = {
        (site, unit): int(remaining) for site, unit, remaining in summed
    }
    _seen.update(now)
    for site, unit in _seen:
        # A station that gave all back has 0, not what it had.
        _allotted.labels("catalog", site, unit).set(now.get((site, unit), 0))
