"""The route for what can be sold."""

from typing import Any

from services.catalog.models import Availability
from services.catalog.schemas.stock import availability as schemas
from services.catalog.use_cases.stock import availability
from shared.runtime.paging import Page, changes, page
from shared.web import Blueprint, reading, scope
from shared.web.paging import changes_page_of, page_arguments

blp = Blueprint(
    "availability",
    __name__,
    url_prefix="/api/catalog/v1",
    description="How much of each variant can be sold.",
)


@blp.get("/availability")
@scope("availability:read")
@blp.arguments(schemas.ListAvailabilityRequest, location="query")
@blp.response(200, changes_page_of(schemas.AvailabilityResponse))
def list_availability(query: dict[str, Any]) -> Page[Availability]:
    """List how much of each variant an order could reserve now, over any channel.

    It counts goods of released lots that keep as long as the variant promises and lie at an open
    centre. Goods that are reserved, held or allotted to a station do not count; of a withdrawn
    product nothing does. The operator may show less (`capped`). The quantities are those of the
    last events `catalog.availability_changed.v1`, at most a second old: to mirror them, read this
    list once, then apply each event whose `sequence` is higher than the `version` that you have.
    Without events, read again with `changed_since`.
    """
    arguments = page_arguments(query)
    since = query.pop("changed_since", None)
    chosen = availability.select_availability(**query)
    key = Availability.variant_id
    with reading() as session:
        if since is not None:
            return changes(session, chosen, Availability.changed_at, key, since=since, **arguments)
        return page(session, chosen, key, **arguments)
