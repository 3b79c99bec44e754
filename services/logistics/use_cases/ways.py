"""The fastest ways through the network of sites, from its centres to each site."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.logistics import rules
from services.logistics.models import Route, Site
from services.logistics.rules import Leg, Way
from shared.runtime.locks import advisory_lock


def lock_network(session: Session) -> None:
    """Lock the network until the commit: two changes at once would each miss the other's."""
    advisory_lock(session, "network")


def way_to(site: Site, *, cold: bool) -> Way | None:
    """Return the way that leads to a site, or the way that is cold throughout, if there is one."""
    stored = site.cold_way if cold else site.way
    if stored is None:
        return None
    return tuple(
        Leg(UUID(leg["from_id"]), UUID(leg["to_id"]), leg["hours"], tuple(leg["days"]), leg["cold"])
        for leg in stored
    )


def recompute_ways(session: Session, sites: Sequence[Site]) -> None:
    """Recompute the ways to all open sites; a closed site keeps its last way for late parcels."""
    is_open = {site.id: site for site in sites if site.closed_at is None}
    legs = {
        (site.parent_id, site.id): rules.default_leg(site.level, site.parent_id, site.id)
        for site in is_open.values()
        if site.parent_id is not None
    }
    for route in session.scalars(select(Route)):
        if route.from_site_id in is_open and route.to_site_id in is_open:
            ends = (route.from_site_id, route.to_site_id)
            legs[ends] = Leg(*ends, route.hours, tuple(route.days), route.cold)
    centres = [site.id for site in is_open.values() if site.parent_id is None]
    ways = rules.fastest_ways(centres, legs.values())
    cold_ways = rules.fastest_ways(centres, (leg for leg in legs.values() if leg.cold))
    for site in is_open.values():
        site.way = _stored(ways.get(site.id))
        site.cold_way = _stored(cold_ways.get(site.id))


def _stored(way: Way | None) -> list[dict[str, Any]] | None:
    if way is None:
        return None
    return [
        {
            "from_id": str(leg.from_id),
            "to_id": str(leg.to_id),
            "hours": leg.hours,
            "days": list(leg.days),
            "cold": leg.cold,
        }
        for leg in way
    ]
