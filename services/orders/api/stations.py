"""Operators' routes for stations: the entries of tills' journals, and disputes about them."""

from typing import Any
from uuid import UUID

from services.orders.api.limits import read_limits
from services.orders.batch import EntryNotFound, OrdersBatch
from services.orders.models import Journal, TillEntry
from services.orders.rules.till import parse_entry
from services.orders.schemas import stations as schemas
from services.orders.schemas.till import UploadedEntriesResponse
from services.orders.use_cases import entries, stations
from services.orders.use_cases.correct import correct
from services.orders.use_cases.upload import upload
from shared.runtime import clock
from shared.runtime.belonging import check_within, within
from shared.runtime.paging import Page, page
from shared.web import (
    Blueprint,
    caller,
    idempotent,
    reading,
    scope,
    settings,
    transaction,
)
from shared.web.paging import page_arguments, page_of

blp = Blueprint(
    "stations",
    __name__,
    url_prefix="/api/orders/v1",
    description="What stations' tills said they did, for operators.",
)


@blp.get("/station-sales")
@scope("stations:read", by_site=True)
@blp.arguments(schemas.ListStationSalesRequest, location="query")
@blp.response(200, page_of(schemas.StationSaleResponse))
def list_station_sales(query: dict[str, Any]) -> Page[TillEntry]:
    """List entries of tills' journals, the last that came first.

    Sales, and with them voids, returns, parcels handed over, orders and shifts: see `kind`.
    """
    arguments = page_arguments(query)
    with reading() as session:
        chosen = within(stations.select_entries(**query), TillEntry.site_id, caller().sites)
        return page(session, chosen, TillEntry.arrival, descending=True, **arguments)


@blp.get("/station-sales/<uuid:sale_id>")
@scope("stations:read", by_site=True)
@blp.response(200, schemas.StationSaleDetailResponse)
def show_station_sale(sale_id: UUID) -> TillEntry:
    """Show an entry with its whole content, without the buyer's personal data."""
    with reading() as session:
        entry = stations.find_entry(session, sale_id)
        check_within(
            entry.site_id, caller().sites, EntryNotFound, f"No till has told of {sale_id}."
        )
        return entry


@blp.post("/station-sales/import")
@scope("stations:operate")
@blp.arguments(schemas.ImportEntriesRequest, example=schemas.IMPORT_EXAMPLE)
@blp.response(200, UploadedEntriesResponse)
@blp.alt_response(404, "NOT_FOUND")
def import_entries(import_in: dict[str, Any]) -> dict[str, Any]:
    """Import the exported file of a till that cannot upload by itself.

    The entries count as if the till had uploaded them, even if its key is revoked. The import may
    be repeated.
    """
    parsed = [parse_entry(raw) for raw in import_in["entries"]]
    with transaction(OrdersBatch) as batch:
        device = stations.device_of_epoch(batch.session, import_in["device_id"], import_in["epoch"])
        answers = upload(batch, device, parsed, read_limits(settings().environment))
    return {
        "device_id": device.device_id,
        "epoch": device.epoch,
        "server_time": clock.now(),
        "answers": answers,
    }


@blp.post("/station-sales/<uuid:sale_id>/acknowledge")
@scope("stations:operate")
@idempotent
@blp.arguments(schemas.AcknowledgeEntryRequest)
@blp.response(200, schemas.StationSaleDetailResponse)
def acknowledge_entry(acknowledge_in: dict[str, Any], sale_id: UUID) -> TillEntry:
    """Decide a dispute that moves no stock.

    This is for voids, returns, hand-overs, orders and unreadable entries; a disputed sale is
    settled in catalog. With `book_cash` the refunded cash leaves the clerk's custody.
    """
    with transaction(OrdersBatch) as batch:
        return entries.acknowledge(batch, sale_id, **acknowledge_in, by=caller().subject)


@blp.post("/station-sales/<uuid:sale_id>/correct")
@scope("stations:operate")
@idempotent
@blp.arguments(schemas.CorrectEntryRequest, example=schemas.CORRECTION_EXAMPLE)
@blp.response(200, schemas.StationSaleDetailResponse)
def correct_entry(correct_in: dict[str, Any], sale_id: UUID) -> TillEntry:
    """Correct an unreadable entry, or a flagged label of an entry, and let it count.

    `changes` is a JSON merge patch of the entry's body: null removes a field. Orders books the
    goods and money of a corrected unreadable entry. In a readable entry you can change a flagged
    clerk, or an order's flagged contact. The till's original content is stored besides.
    """
    with transaction(OrdersBatch) as batch:
        return correct(
            batch,
            sale_id,
            **correct_in,
            by=caller().subject,
            limits=read_limits(settings().environment),
        )


@blp.get("/till/devices")
@scope("stations:read", by_site=True)
@blp.arguments(schemas.ListTillDevicesRequest, location="query")
@blp.response(200, page_of(schemas.TillDeviceResponse))
def list_till_devices(query: dict[str, Any]) -> Page[stations.JournalStatus]:
    """List how much of the journal of each epoch of each device is uploaded.

    A hole is a missing entry, which may still be on the device.
    """
    arguments = page_arguments(query)
    with reading() as session:
        chosen = within(stations.select_journals(**query), Journal.site_id, caller().sites)
        found = page(session, chosen, Journal.id, **arguments)
        return Page(stations.journal_statuses(session, found.items), found.next)
