"""Routes for lots, and for the locations where they lie."""

from typing import Any
from uuid import UUID

from services.catalog.batch import CatalogBatch
from services.catalog.models import Location, Lot
from services.catalog.schemas.stock import lots as schemas
from services.catalog.use_cases.stock import locations, lot_tracing, lots
from shared.runtime.paging import Page, page
from shared.web import Blueprint, caller, idempotent, reading, scope, transaction
from shared.web.paging import PageRequest, page_arguments, page_of

blp = Blueprint(
    "lots",
    __name__,
    url_prefix="/api/catalog/v1",
    description="Lots: what one producer harvested on one day, and whether it may be sold.",
)


@blp.post("/lots")
@scope("stock:write")
@idempotent
@blp.arguments(schemas.RecordLotRequest, example=schemas.LOT_EXAMPLE)
@blp.response(201, schemas.LotResponse)
def record_lot(lot_in: dict[str, Any]) -> Lot:
    """Record a lot.

    Without `best_before` the product's shelf life counts from the harvest. If a lot
    with equal content exists, the answer is that lot. A lot is sold after inspection and release.
    """
    with transaction(CatalogBatch) as batch:
        return lots.record_lot(batch, **lot_in)


@blp.get("/lots")
@scope("stock:read")
@blp.arguments(schemas.ListLotsRequest, location="query")
@blp.response(200, page_of(schemas.LotResponse))
def list_lots(query: dict[str, Any]) -> Page:
    """List lots, newest first."""
    arguments = page_arguments(query)
    with reading() as session:
        return page(session, lots.select_lots(**query), Lot.id, descending=True, **arguments)


@blp.get("/lots/<uuid:lot_id>")
@scope("stock:read")
@blp.response(200, schemas.LotResponse)
def show_lot(lot_id: UUID) -> Lot:
    """Show a lot."""
    with reading() as session:
        return lots.get_lot(session, lot_id)


@blp.post("/lots/<uuid:lot_id>/inspect")
@scope("stock:write")
@idempotent
@blp.response(200, schemas.LotResponse)
def inspect_lot(lot_id: UUID) -> Lot:
    """Record that a lot passed inspection."""
    with transaction(CatalogBatch) as batch:
        return lots.inspect_lot(batch, lot_id)


@blp.post("/lots/<uuid:lot_id>/release")
@scope("stock:write")
@idempotent
@blp.response(200, schemas.LotResponse)
def release_lot(lot_id: UUID) -> Lot:
    """Let a lot be sold, after inspection or again after a hold."""
    with transaction(CatalogBatch) as batch:
        return lots.release_lot(batch, lot_id, actor=caller().subject)


@blp.post("/lots/<uuid:lot_id>/hold")
@scope("stock:write")
@idempotent
@blp.arguments(schemas.StopLotRequest)
@blp.response(200, schemas.LotResponse)
def hold_lot(stop_in: dict[str, Any], lot_id: UUID) -> Lot:
    """Stop selling a lot at all locations until it is released again.

    Orders keep what they have reserved of it, and wait: until the release nobody can pack, dispatch
    or hand over a parcel with goods of the lot.
    """
    with transaction(CatalogBatch) as batch:
        return lots.hold_lot(batch, lot_id, actor=caller().subject, **stop_in)


@blp.post("/lots/<uuid:lot_id>/recall")
@scope("stock:write")
@idempotent
@blp.arguments(schemas.StopLotRequest)
@blp.response(200, schemas.LotResponse)
def recall_lot(stop_in: dict[str, Any], lot_id: UUID) -> Lot:
    """Stop selling a lot for good.

    Orders that have reserved it and have not left get other lots, or are rejected and refunded.
    Parcels on their way come back, and their goods are not for sale.
    """
    with transaction(CatalogBatch) as batch:
        return lots.recall_lot(batch, lot_id, actor=caller().subject, **stop_in)


@blp.get("/lots/<uuid:lot_id>/orders")
@scope("stock:read")
@blp.arguments(PageRequest, location="query")
@blp.response(200, page_of(schemas.OrderOfLotResponse))
def list_orders_of_lot(query: dict[str, Any], lot_id: UUID) -> Page:
    """List the orders that have, or ever had, goods of a lot.

    An order that has none of them any more got other lots, or ended before its goods left.
    """
    with reading() as session:
        return lot_tracing.orders_of_lot(session, lot_id, **query)


@blp.get("/lots/<uuid:lot_id>/station-sales")
@scope("stock:read")
@blp.arguments(PageRequest, location="query")
@blp.response(200, page_of(schemas.SaleOfLotResponse))
def list_station_sales_of_lot(query: dict[str, Any], lot_id: UUID) -> Page:
    """List the counter sales, voids and returns of a lot, with the disputed ones.

    The buyers of counter sales are not known.
    """
    with reading() as session:
        return lot_tracing.sales_of_lot(session, lot_id, **query)


@blp.get("/locations")
@scope("stock:read")
@blp.arguments(schemas.ListLocationsRequest, location="query")
@blp.response(200, page_of(schemas.LocationResponse))
def list_locations(query: dict[str, Any]) -> Page:
    """List the locations where stock may lie: logistics' sites."""
    arguments = page_arguments(query)
    with reading() as session:
        return page(session, locations.select_locations(**query), Location.id, **arguments)
