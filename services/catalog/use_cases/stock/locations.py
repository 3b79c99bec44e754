"""Locations: a read model of logistics' sites. Stock lies at locations."""

from uuid import UUID

from msgspec import to_builtins
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from services.catalog.batch import CatalogBatch
from services.catalog.models import Location
from shared.events import SiteOpened
from shared.runtime.errors import Conflict, Unprocessable


class UnknownLocation(Unprocessable):
    """Raised when a location is unknown to catalog."""


class LocationClosed(Conflict):
    """Raised when goods would be brought to a closed location."""


def open_location(batch: CatalogBatch, site: SiteOpened) -> Location:
    """Add a site as a location for stock, or update it."""
    location: Location | None = batch.get_for_update(Location.id, site.site_id)
    if location is None:
        location = Location(id=site.site_id)
        batch.track(Location.id, location)
    location.code = site.code
    location.level = site.level
    location.parent_id = site.parent_id
    location.names = to_builtins(site.names)
    location.is_open = True
    return location


def close_location(batch: CatalogBatch, site_id: UUID) -> None:
    """Close a location for new stock; the stock there can still be counted and moved away.

    Raises:
        UnknownLocation: the site was never opened.
    """
    location: Location | None = batch.get_for_update(Location.id, site_id)
    if location is None:
        raise UnknownLocation(f"Site {site_id} was never opened.")
    location.is_open = False


def existing_location(session: Session, location_id: UUID) -> Location:
    """Return a location.

    Raises:
        UnknownLocation: catalog has not heard of it.
    """
    location = session.get(Location, location_id)
    if location is None:
        raise UnknownLocation(
            f"No location {location_id} is known; open the site in logistics first."
        )
    return location


def open_location_of(session: Session, location_id: UUID) -> Location:
    """Return a location that takes goods in.

    Raises:
        UnknownLocation: catalog has not heard of it.
        LocationClosed: it takes nothing in.
    """
    location = existing_location(session, location_id)
    if not location.is_open:
        raise LocationClosed(f"Location {location.code} is closed and takes no stock.")
    return location


def select_locations(level: str | None = None) -> Select[Location]:
    """Return the query for locations, all of them or those of one level."""
    statement = select(Location)
    if level is not None:
        statement = statement.where(Location.level == level)
    return statement
