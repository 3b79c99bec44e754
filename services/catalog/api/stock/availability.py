"""The route for what can be sold."""

from typing import Any

from services.catalog.models import Availability
from services.catalog.schemas.stock import availability as schemas
from services.catalog.use_cases.stock import availability
from shared.runtime.paging import Page, page
from shared.web import Blueprint, reading, scope
from shared.web.paging import page_arguments, page_of

blp = Blueprint(
    "availability",
    __name__,
    url_prefix="/api/catalog/v1",
    description="How much of each variant can be sold.",
)


@blp.get("/availability")
@scope("availability:read")
@blp.arguments(schemas.ListAvailabilityRequest, location="query")
@blp.response(200, page_of(schemas.AvailabilityResponse))
def list_availability(query: dict[str, Any]) -> Page:
    """List how much of each variant an order could reserve now, over any channel.

    It counts goods of released lots that keep as long as the variant promises and lie at an open
    centre. Goods that are reserved, held or allotted to a station do not count; of a withdrawn
    product nothing does. The operator may show less (`capped`). The quantities are those of the
    last events `catalog.availability_changed.v1`, at most a second old: to mirror them, read this
    list once, then apply each event whose `sequence` is higher than the `version` that you have.
    """
    arguments = page_arguments(query)
    with reading() as session:
        return page(
            session,
            availability.select_availability(**query),
            Availability.variant_id,
            **arguments,
        )
