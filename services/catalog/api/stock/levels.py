"""Routes for stock: receipts, adjustments, moves, levels and the ledger."""

from typing import Any
from uuid import UUID

from services.catalog.batch import CatalogBatch
from services.catalog.models import Reservation, StockLevel, StockMovement
from services.catalog.schemas.stock import levels as schemas
from services.catalog.schemas.stock import reservations as reservation_schemas
from services.catalog.use_cases.stock import levels, reconciliation, reservation_inquiries
from shared.runtime.paging import Page, page
from shared.web import Blueprint, caller, idempotent, reading, scope, transaction
from shared.web.paging import page_arguments, page_of

blp = Blueprint(
    "stock",
    __name__,
    url_prefix="/api/catalog/v1",
    description="The stock ledger, its balances, and what is set aside for orders.",
)


@blp.post("/stock/receipts")
@scope("stock:write")
@idempotent
@blp.arguments(schemas.ReceiveStockRequest)
@blp.response(201, schemas.LevelResponse)
@blp.alt_response(404, "NOT_FOUND")
def receive_stock(receipt_in: dict[str, Any]) -> StockLevel:
    """Take goods of a lot into stock at a location.

    They are `available` if their lot is released, and `held` until then.
    """
    with transaction(CatalogBatch) as batch:
        return levels.receive_stock(batch, actor=caller().subject, **receipt_in)


@blp.post("/stock/adjustments")
@scope("stock:write")
@idempotent
@blp.arguments(schemas.AdjustStockRequest)
@blp.response(201, schemas.LevelResponse)
@blp.alt_response(404, "NOT_FOUND")
def adjust_stock(adjustment_in: dict[str, Any]) -> StockLevel:
    """Correct the quantity of a lot at a location.

    Only goods that nobody has a claim on can be subtracted. If these are too few, the answer is 409
    and names the free quantity.
    """
    with transaction(CatalogBatch) as batch:
        return levels.adjust_stock(batch, actor=caller().subject, **adjustment_in)


@blp.post("/stock/moves")
@scope("stock:write")
@idempotent
@blp.arguments(schemas.MoveStockRequest)
@blp.response(201, schemas.MovedResponse)
@blp.alt_response(404, "NOT_FOUND")
def move_stock(move_in: dict[str, Any]) -> dict[str, Any]:
    """Move free stock of a lot from one location to another.

    Goods that are set aside for orders stay at their location.
    """
    with transaction(CatalogBatch) as batch:
        return {"items": levels.move_stock(batch, actor=caller().subject, **move_in)}


@blp.get("/stock")
@scope("stock:read")
@blp.arguments(schemas.ListLevelsRequest, location="query")
@blp.response(200, page_of(schemas.LevelResponse))
def list_levels(query: dict[str, Any]) -> Page:
    """List the quantity of each lot at each location, and how much of it is free."""
    arguments = page_arguments(query)
    with reading() as session:
        return page(session, levels.select_levels(**query), StockLevel.id, **arguments)


@blp.get("/stock/movements")
@scope("stock:read")
@blp.arguments(schemas.ListMovementsRequest, location="query")
@blp.response(200, page_of(schemas.MovementResponse))
def list_movements(query: dict[str, Any]) -> Page:
    """List the ledger, newest first."""
    arguments = page_arguments(query)
    with reading() as session:
        return page(
            session,
            levels.select_movements(**query),
            StockMovement.id,
            descending=True,
            **arguments,
        )


@blp.get("/stock/summary")
@scope("stock:read")
@blp.response(200, schemas.BooksResponse)
def summarise_stock() -> reconciliation.Reconciliation:
    """Show the quantities of each variant that came, went and are there, and whether they balance.

    Catalog rebuilds all balances from the ledger and compares them with the stored ones, with the
    open reservations and with the allotments. The answer names each difference.
    """
    with reading() as session:
        return reconciliation.reconcile(session)


@blp.get("/reservations/<uuid:order_id>")
@scope("stock:read")
@blp.response(200, reservation_schemas.ReservationResponse)
def show_reservation(order_id: UUID) -> Reservation:
    """Show the reservation of an order, lot by lot, and its status."""
    with reading() as session:
        return reservation_inquiries.get_reservation(session, order_id)
