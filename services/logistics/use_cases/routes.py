"""Routes run between sites; each change recomputes the ways."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.logistics.batch import LogisticsBatch
from services.logistics.models import Route, Site
from services.logistics.use_cases.site_tree import UnknownSite, check_open
from services.logistics.use_cases.ways import lock_network, recompute_ways
from shared.runtime.errors import Conflict, NotFound, Unprocessable
from shared.runtime.ids import new_id


class RouteNotFound(NotFound):
    """Raised when no route has the id asked for."""


class RouteToItself(Unprocessable):
    """Raised when a route would end where it begins."""


class RouteExists(Conflict):
    """Raised when there is another route between the two sites."""


def open_route(
    batch: LogisticsBatch, from_code: str, to_code: str, hours: int, days: list[int], cold: bool
) -> Route:
    """Open a route from one site to another; an equal one stays as it is.

    Raises:
        UnknownSite, SiteIsClosed: an end does not exist, or is closed.
        RouteToItself: both ends are the same site.
        RouteExists: there is one with other hours, days or cold.
    """
    if from_code == to_code:
        raise RouteToItself(f"A route from {from_code} must lead to another site.")
    session = batch.session
    lock_network(session)
    start, end = _open_site(session, from_code), _open_site(session, to_code)
    route = session.scalar(
        select(Route).where(Route.from_site_id == start.id, Route.to_site_id == end.id)
    )
    if route is not None:
        if (route.hours, route.days, route.cold) != (hours, sorted(days), cold):
            raise RouteExists(
                f"There is another route from {from_code} to {to_code}; change it by its id.",
                route_id=str(route.id),
            )
        return route
    route = Route(
        id=new_id(),
        from_site_id=start.id,
        to_site_id=end.id,
        hours=hours,
        days=sorted(days),
        cold=cold,
    )
    session.add(route)
    session.flush()
    recompute_ways(session, list(session.scalars(select(Site))))
    return route


def change_route(
    batch: LogisticsBatch, route_id: UUID, hours: int, days: list[int], cold: bool
) -> Route:
    """Give a route other hours, days or cold; shipments planned before keep their promise.

    Raises:
        RouteNotFound: there is none.
    """
    session = batch.session
    lock_network(session)
    route = find_route(session, route_id)
    route.hours, route.days, route.cold = hours, sorted(days), cold
    session.flush()
    recompute_ways(session, list(session.scalars(select(Site))))
    return route


def end_route(batch: LogisticsBatch, route_id: UUID) -> None:
    """Delete a route; between a site and its parent the default leg applies again.

    Raises:
        RouteNotFound: there is none.
    """
    session = batch.session
    lock_network(session)
    session.delete(find_route(session, route_id))
    session.flush()
    recompute_ways(session, list(session.scalars(select(Site))))


def find_route(session: Session, route_id: UUID) -> Route:
    """Return a route.

    Raises:
        RouteNotFound: there is none.
    """
    route = session.get(Route, route_id)
    if route is None:
        raise RouteNotFound(f"There is no route {route_id}.")
    return route


def _open_site(session: Session, code: str) -> Site:
    site = session.scalar(select(Site).where(Site.code == code))
    if site is None:
        raise UnknownSite(f"There is no site {code}.")
    check_open(site)
    return site
