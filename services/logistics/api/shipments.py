"""Routes that read shipments, and that record what happens to them."""

from typing import Any
from uuid import UUID

from flask import Response
from sqlalchemy import select

from services.logistics.batch import LogisticsBatch
from services.logistics.models import Shipment, TrackingEvent
from services.logistics.schemas import shipments as schemas
from services.logistics.use_cases import belonging, hand_over, reading, tracking, travelling
from services.logistics.use_cases.hand_over import WrongCode
from shared import web
from shared.runtime.paging import Page, page
from shared.web import Blueprint, caller, idempotent, scope, transaction
from shared.web.paging import PageRequest, page_arguments, page_of
from shared.web.problems import answer_of

blp = Blueprint(
    "shipments",
    __name__,
    url_prefix="/api/logistics/v1",
    description="Shipments of confirmed orders, from packing to the hand-over or the return.",
)


@blp.get("/shipments")
@scope("shipments:read", by_site=True)
@blp.arguments(schemas.ListShipmentsRequest, location="query")
@blp.response(200, page_of(schemas.ShipmentResponse))
def list_shipments(query: dict[str, Any]) -> Page[Shipment]:
    """List shipments, the newest first."""
    arguments = page_arguments(query)
    with web.reading() as session:
        chosen = belonging.concerning(reading.select_shipments(**query), caller().sites)
        return page(session, chosen, Shipment.id, descending=True, **arguments)


@blp.get("/shipments/<uuid:shipment_id>")
@scope("shipments:read", by_site=True)
@blp.response(200, schemas.ShipmentDetailResponse)
def show_shipment(shipment_id: UUID) -> dict[str, Any]:
    """Show a shipment with what it carries.

    Contact and proof of delivery are shown to callers with the scope shipments:operate only.
    """
    with web.reading() as session:
        belonging.check_shipment(session, shipment_id, caller().sites)
        return reading.describe_shipment(
            session, shipment_id, with_people=caller().may("shipments:operate")
        )


@blp.post("/shipments/<uuid:shipment_id>/pack")
@scope("shipments:operate", by_site=True)
@idempotent
@blp.response(200, schemas.ShipmentResponse)
def pack(shipment_id: UUID) -> Shipment:
    """Record that the goods are packed."""
    with transaction(LogisticsBatch) as batch:
        belonging.check_shipment(batch.session, shipment_id, caller().sites)
        return travelling.pack(batch, shipment_id)


@blp.post("/shipments/<uuid:shipment_id>/dispatch")
@scope("shipments:operate", by_site=True)
@idempotent
@blp.response(200, schemas.ShipmentResponse)
def dispatch(shipment_id: UUID) -> Shipment:
    """Hand a packed shipment to its carrier; its goods leave the stock."""
    with transaction(LogisticsBatch) as batch:
        belonging.check_shipment(batch.session, shipment_id, caller().sites)
        return travelling.dispatch(batch, shipment_id)


@blp.post("/shipments/<uuid:shipment_id>/arrivals")
@scope("shipments:operate", by_site=True)
@idempotent
@blp.arguments(schemas.ArriveRequest)
@blp.response(200, schemas.ShipmentResponse)
def arrive(arrival_in: dict[str, Any], shipment_id: UUID) -> Shipment:
    """Record that a shipment reached a site.

    If it is the shipment's own site and the buyer collects there, logistics issues a code for the
    buyer.
    """
    with transaction(LogisticsBatch) as batch:
        belonging.check_shipment(batch.session, shipment_id, caller().sites)
        belonging.check_site(batch.session, arrival_in["site_id"], caller().sites)
        return travelling.arrive(batch, shipment_id, **arrival_in)


@blp.post("/shipments/<uuid:shipment_id>/deliver")
@scope("shipments:operate", by_site=True)
@idempotent
@blp.arguments(schemas.DeliverRequest)
@blp.response(200, schemas.ShipmentResponse)
def deliver(delivery_in: dict[str, Any], shipment_id: UUID) -> Shipment:
    """Record that a shipment was delivered: the person who took it, and the money paid.

    An amount other than the one due needs a difference_reason.
    """
    with transaction(LogisticsBatch) as batch:
        belonging.check_shipment(batch.session, shipment_id, caller().sites)
        return hand_over.deliver(batch, shipment_id, by=str(caller().subject), **delivery_in)


@blp.post("/shipments/<uuid:shipment_id>/collect")
@scope("shipments:operate", by_site=True)
@idempotent
@blp.arguments(schemas.CollectRequest)
@blp.response(200, schemas.ShipmentResponse)
def collect(collection_in: dict[str, Any], shipment_id: UUID) -> Shipment | Response:
    """Record that the buyer took a shipment at its site.

    Give the buyer's code or, without it, the name of the person who takes the shipment. Five wrong
    tries lock the code; then only a name works.
    """
    with transaction(LogisticsBatch) as batch:
        belonging.check_shipment(batch.session, shipment_id, caller().sites)
        outcome = hand_over.collect(batch, shipment_id, by=str(caller().subject), **collection_in)
    # Answered, not raised: an exception would roll back the count of wrong tries.
    return answer_of(outcome) if isinstance(outcome, WrongCode) else outcome


@blp.post("/shipments/<uuid:shipment_id>/fail")
@scope("shipments:operate", by_site=True)
@idempotent
@blp.arguments(schemas.FailRequest)
@blp.response(200, schemas.ShipmentResponse)
def fail(failure_in: dict[str, Any], shipment_id: UUID) -> Shipment:
    """Record that nobody took a shipment; it goes back."""
    with transaction(LogisticsBatch) as batch:
        belonging.check_shipment(batch.session, shipment_id, caller().sites)
        return travelling.fail(batch, shipment_id, **failure_in)


@blp.post("/shipments/<uuid:shipment_id>/return")
@scope("shipments:operate", by_site=True)
@idempotent
@blp.arguments(schemas.ReturnRequest)
@blp.response(200, schemas.ShipmentResponse)
def take_back(return_in: dict[str, Any], shipment_id: UUID) -> Shipment:
    """Record that a refused shipment's goods are back, to be sold again or written off."""
    with transaction(LogisticsBatch) as batch:
        belonging.check_shipment(batch.session, shipment_id, caller().sites)
        return travelling.take_back(batch, shipment_id, **return_in)


@blp.post("/shipments/<uuid:shipment_id>/tracking")
@scope("shipments:operate", by_site=True)
@idempotent
@blp.arguments(schemas.TrackRequest)
@blp.response(201, schemas.TrackingResponse)
def track(report_in: dict[str, Any], shipment_id: UUID) -> TrackingEvent:
    """Add a carrier's or a site's report about the parcel.

    A report is stored as it comes and never changes the shipment's state.
    """
    with transaction(LogisticsBatch) as batch:
        belonging.check_shipment(batch.session, shipment_id, caller().sites)
        belonging.check_site(batch.session, report_in.get("site_id"), caller().sites)
        return tracking.add_tracking_event(batch, shipment_id, **report_in)


@blp.get("/shipments/<uuid:shipment_id>/tracking")
@scope("shipments:read", by_site=True)
@blp.arguments(PageRequest, location="query")
@blp.response(200, page_of(schemas.TrackingResponse))
def list_tracking(query: dict[str, Any], shipment_id: UUID) -> Page[TrackingEvent]:
    """List the reports about a parcel, the oldest first."""
    with web.reading() as session:
        belonging.check_shipment(session, shipment_id, caller().sites)
        tracking.check_exists(session, shipment_id)
        reports = select(TrackingEvent).where(TrackingEvent.shipment_id == shipment_id)
        return page(session, reports, TrackingEvent.id, **query)
