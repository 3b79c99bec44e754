"""What carriers report of a parcel: added to its track, never to its state."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from services.logistics.batch import LogisticsBatch
from services.logistics.models import Shipment, Site, TrackingEvent
from services.logistics.rules import TrackingStatus
from services.logistics.use_cases.site_tree import UnknownSite
from services.logistics.use_cases.travelling import ShipmentNotFound
from shared.runtime import clock
from shared.runtime.ids import new_id


def add_tracking_event(
    batch: LogisticsBatch,
    shipment_id: UUID,
    *,
    status: TrackingStatus,
    site_id: UUID | None = None,
    carrier: str | None = None,
    carrier_code: str | None = None,
    happened_at: datetime | None = None,
) -> TrackingEvent:
    """Add one report; it may come late, twice, or contradict the shipment's own state.

    Raises:
        ShipmentNotFound: there is no such shipment.
        UnknownSite: there is no such site.
    """
    session = batch.session
    check_exists(session, shipment_id)
    if site_id is not None and session.get(Site, site_id) is None:
        raise UnknownSite(f"There is no site {site_id}.")
    now = clock.now()
    tracking_event = TrackingEvent(
        id=new_id(),
        shipment_id=shipment_id,
        status=status,
        site_id=site_id,
        carrier=carrier,
        carrier_code=carrier_code,
        happened_at=happened_at or now,
        recorded_at=now,
    )
    session.add(tracking_event)
    return tracking_event


def check_exists(session: Session, shipment_id: UUID) -> None:
    """Pass when there is such a shipment.

    Raises:
        ShipmentNotFound: there is none.
    """
    if session.get(Shipment, shipment_id) is None:
        raise ShipmentNotFound(f"There is no shipment {shipment_id}.")
