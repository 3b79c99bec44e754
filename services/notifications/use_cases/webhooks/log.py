"""Read the log of deliveries."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.notifications.models import Delivery
from services.notifications.use_cases.webhooks.endpoints import read_endpoint
from shared.runtime.errors import NotFound
from shared.runtime.paging import Page, filtered, page


class DeliveryNotFound(NotFound):
    """Raised when an endpoint has no such delivery."""


def list_deliveries(
    session: Session,
    endpoint_id: UUID,
    partner: str | None,
    *,
    limit: int,
    cursor: str | None = None,
    status: str | None = None,
    type: str | None = None,
    subject: str | None = None,
) -> Page[Delivery]:
    """Return an endpoint's deliveries, newest first.

    Raises:
        EndpointNotFound
    """
    read_endpoint(session, endpoint_id, partner)
    statement = filtered(
        select(Delivery).where(Delivery.endpoint_id == endpoint_id),
        {Delivery.status: status, Delivery.type: type, Delivery.subject: subject},
    )
    return page(session, statement, Delivery.id, limit=limit, cursor=cursor, descending=True)


def read_delivery(
    session: Session, endpoint_id: UUID, delivery_id: UUID, partner: str | None
) -> Delivery:
    """Return one delivery with its newest attempts.

    Raises:
        EndpointNotFound, DeliveryNotFound
    """
    read_endpoint(session, endpoint_id, partner)
    delivery = session.get(Delivery, delivery_id)
    if delivery is None or delivery.endpoint_id != endpoint_id:
        raise DeliveryNotFound("The endpoint has no delivery with this id.")
    return delivery
