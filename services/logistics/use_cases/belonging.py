"""Which parcels concern a caller of certain sites: those that go there or to a site below.

Goods follow the tree of sites, so a county's clerk passes on what goes to its villages, and a
centre's clerk packs everything. `sites` None stands for a caller who is not bound to sites.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import Select, exists, select
from sqlalchemy.orm import Session

from services.logistics.models import Shipment, Site
from services.logistics.use_cases.travelling import ShipmentNotFound
from shared.runtime.belonging import OtherSites


def _below(sites: frozenset[UUID]) -> Select[Any]:
    reached = select(Site.id).where(Site.id.in_(sites)).cte("reached", recursive=True)
    reached = reached.union(select(Site.id).join(reached, Site.parent_id == reached.c.id))
    return select(reached.c.id)


def concerning(statement: Select[Shipment], sites: frozenset[UUID] | None) -> Select[Shipment]:
    """Narrow a statement to the shipments that concern `sites`."""
    return statement if sites is None else statement.where(Shipment.site_id.in_(_below(sites)))


def check_shipment(session: Session, shipment_id: UUID, sites: frozenset[UUID] | None) -> None:
    """Pass when a shipment concerns `sites`.

    Raises:
        ShipmentNotFound: it goes elsewhere, or there is none.
    """
    if sites is None:
        return
    concerned = concerning(select(Shipment).where(Shipment.id == shipment_id), sites)
    if not session.scalar(select(exists(concerned.with_only_columns(Shipment.id).subquery()))):
        raise ShipmentNotFound(f"There is no shipment {shipment_id}.")


def check_site(session: Session, site_id: UUID | None, sites: frozenset[UUID] | None) -> None:
    """Pass when a site is one of `sites` or below; None is no site and passes.

    Raises:
        OtherSites: it is neither.
    """
    if sites is None or site_id is None:
        return
    if site_id not in set(session.scalars(_below(sites))):
        raise OtherSites("Your token is for other sites; somebody of that site must note this.")
