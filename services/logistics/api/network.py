"""Routes for sites, the routes between them, and the day goods would reach a site."""

from typing import Any
from uuid import UUID

from sqlalchemy import select

from services.logistics.batch import LogisticsBatch
from services.logistics.models import Route, Site
from services.logistics.schemas import network as schemas
from services.logistics.use_cases import planning, routes, site_tree
from shared.runtime.paging import Page, changes, page
from shared.web import Blueprint, idempotent, public, reading, scope, transaction
from shared.web.paging import changes_page_of, page_arguments, page_of

blp = Blueprint(
    "network",
    __name__,
    url_prefix="/api/logistics/v1",
    description="Sites of the network, the routes between them, and delivery promises.",
)


@blp.post("/sites")
@scope("sites:write")
@idempotent
@blp.arguments(schemas.OpenSiteRequest, example=schemas.SITE_EXAMPLE)
@blp.response(201, schemas.SiteResponse)
def open_site(site_in: dict[str, Any]) -> Site:
    """Open a site under a parent exactly one level above it.

    If a site with equal content exists, the answer is that site. The code of a site with other
    content is refused with 409.
    """
    with transaction(LogisticsBatch) as batch:
        return site_tree.open_sites(batch, [site_in])[0]


@blp.post("/sites/batch")
@scope("sites:write")
@idempotent
@blp.arguments(schemas.OpenSitesRequest)
@blp.response(201, schemas.SitesResponse)
def open_sites(sites_in: dict[str, Any]) -> dict[str, Any]:
    """Open up to 500 sites, all or none.

    Parents may be in the same call, in any order. The answer has existing sites with
    equal content as they are.
    """
    with transaction(LogisticsBatch) as batch:
        return {"sites": site_tree.open_sites(batch, sites_in["sites"])}


@blp.get("/sites")
@public
@blp.arguments(schemas.ListSitesRequest, location="query")
@blp.response(200, changes_page_of(schemas.SiteResponse))
def list_sites(query: dict[str, Any]) -> Page[Site]:
    """List sites, in the order in which they were opened.

    With `changed_since` the list has the sites that opened, changed or closed.
    """
    arguments = page_arguments(query)
    since = query.pop("changed_since", None)
    chosen = site_tree.select_sites(**query)
    with reading() as session:
        if since is not None:
            return changes(session, chosen, Site.changed_at, Site.id, since=since, **arguments)
        return page(session, chosen, Site.id, **arguments)


@blp.get("/sites/<uuid:site_id>")
@public
@blp.response(200, schemas.SiteResponse)
def show_site(site_id: UUID) -> Site:
    """Show a site."""
    with reading() as session:
        return site_tree.find_site(session, site_id)


@blp.patch("/sites/<uuid:site_id>")
@scope("sites:write")
@blp.arguments(schemas.ChangeSiteRequest)
@blp.response(200, schemas.SiteResponse)
def change_site(site_in: dict[str, Any], site_id: UUID) -> Site:
    """Change a site's names, coordinates or opening hours."""
    with transaction(LogisticsBatch) as batch:
        return site_tree.change_site(batch, site_id, **site_in)


@blp.post("/sites/<uuid:site_id>/close")
@scope("sites:write")
@idempotent
@blp.response(200, schemas.SiteResponse)
def close_site(site_id: UUID) -> Site:
    """Close a site that has no open sites below it.

    It takes no new orders, parcels or stock. Goods that are on their way to it still arrive.
    """
    with transaction(LogisticsBatch) as batch:
        return site_tree.close_site(batch, site_id)


@blp.post("/routes")
@scope("sites:write")
@idempotent
@blp.arguments(schemas.OpenRouteRequest)
@blp.response(201, schemas.RouteResponse)
def open_route(route_in: dict[str, Any]) -> Route:
    """Open a route from one site to another.

    Where no route runs, goods follow the tree of sites at default hours, which are never cold.
    If an equal route exists, the answer is that route. If its content differs, the answer is 409.
    """
    with transaction(LogisticsBatch) as batch:
        return routes.open_route(batch, **route_in)


@blp.get("/routes")
@public
@blp.arguments(schemas.ListRoutesRequest, location="query")
@blp.response(200, page_of(schemas.RouteResponse))
def list_routes(query: dict[str, Any]) -> Page[Route]:
    """List routes, in the order in which they were opened."""
    arguments = page_arguments(query)
    with reading() as session:
        return page(session, select(Route).filter_by(**query), Route.id, **arguments)


@blp.get("/routes/<uuid:route_id>")
@public
@blp.response(200, schemas.RouteResponse)
def show_route(route_id: UUID) -> Route:
    """Show a route."""
    with reading() as session:
        return routes.find_route(session, route_id)


@blp.put("/routes/<uuid:route_id>")
@scope("sites:write")
@blp.arguments(schemas.ChangeRouteRequest)
@blp.response(200, schemas.RouteResponse)
def change_route(route_in: dict[str, Any], route_id: UUID) -> Route:
    """Change the hours, the days or the cold of a route.

    Shipments that are planned keep their promised days.
    """
    with transaction(LogisticsBatch) as batch:
        return routes.change_route(batch, route_id, **route_in)


@blp.delete("/routes/<uuid:route_id>")
@scope("sites:write")
@blp.response(204)
def end_route(route_id: UUID) -> None:
    """Delete a route."""
    with transaction(LogisticsBatch) as batch:
        routes.end_route(batch, route_id)


@blp.get("/promise")
@public
@blp.arguments(schemas.PromiseRequest, location="query")
@blp.response(200, schemas.PromiseResponse)
@blp.alt_response(409, "CONFLICT")
def promise(query: dict[str, Any]) -> planning.Promise:
    """Show the day on which goods that are ordered now would reach a site.

    The day is a calendar date in Asia/Shanghai. Goods that must stay cold need a way with cold legs
    only; without one the answer is 422. For a closed site it is 409.
    """
    with reading() as session:
        return planning.promise(session, **query)
