"""Routes for the devices of stations, and for overdrafts: sales beyond what was granted."""

from typing import Any
from uuid import UUID

from services.catalog.batch import CatalogBatch
from services.catalog.models import Device, Overdraft
from services.catalog.schemas.stations import devices as schemas
from services.catalog.schemas.stations import overdrafts as overdraft_schemas
from services.catalog.use_cases.stations import devices, inquiries, overdrafts
from services.catalog.use_cases.stations.devices import DeviceNotFound
from shared.runtime.belonging import check_within, within
from shared.runtime.paging import Page, page
from shared.web import Blueprint, caller, idempotent, reading, scope, transaction
from shared.web.paging import page_arguments, page_of

blp = Blueprint(
    "devices",
    __name__,
    url_prefix="/api/catalog/v1",
    description="Devices of stations: who may sell there while cut off, and how they are.",
)


def _invited(session: Any, invitation: devices.Invitation) -> dict[str, Any]:
    session.flush()
    (shown,) = inquiries.describe_devices(session, [invitation.device])
    return shown | {
        "enrolment_code": invitation.enrolment_code,
        "enrolment_expires_at": invitation.enrolment_expires_at,
    }


@blp.post("/devices")
@scope("stations:operate")
@idempotent
@blp.arguments(schemas.RegisterDeviceRequest, example=schemas.DEVICE_EXAMPLE)
@blp.response(201, schemas.InvitedDeviceResponse)
def register_device(device_in: dict[str, Any]) -> dict[str, Any]:
    """Register a device at a site.

    The answer has the code with which a machine enrols (`POST /till/enrol`): once, within 24
    hours. Only this answer shows it.
    """
    with transaction(CatalogBatch) as batch:
        return _invited(
            batch.session, devices.register_device(batch, actor=caller().subject, **device_in)
        )


@blp.post("/devices/<uuid:device_id>/enrolment")
@scope("stations:operate")
@idempotent
@blp.response(200, schemas.InvitedDeviceResponse)
def invite_again(device_id: UUID) -> dict[str, Any]:
    """Make a new enrolment code for a device, for instance to replace its machine.

    Earlier unused codes become invalid. The present machine keeps its key until the new code is
    used. Then it may only upload its earlier sales, and its allotments wait for a return or a
    count.
    """
    with transaction(CatalogBatch) as batch:
        return _invited(batch.session, devices.invite_again(batch, device_id, caller().subject))


@blp.post("/devices/<uuid:device_id>/revoke")
@scope("stations:operate")
@idempotent
@blp.arguments(schemas.RevokeDeviceRequest)
@blp.response(200, schemas.DeviceResponse)
def revoke_device(revocation_in: dict[str, Any], device_id: UUID) -> dict[str, Any]:
    """Revoke the keys of all machines of a device.

    Nobody can sell its allotments until they are returned or counted.
    """
    with transaction(CatalogBatch) as batch:
        device = devices.revoke_device(batch, device_id, actor=caller().subject, **revocation_in)
        batch.session.flush()
        return inquiries.describe_devices(batch.session, [device])[0]


@blp.get("/devices")
@scope("stations:read", by_site=True)
@blp.arguments(schemas.ListDevicesRequest, location="query")
@blp.response(200, page_of(schemas.DeviceResponse))
def list_devices(query: dict[str, Any]) -> Page:
    """List devices, with the last contact of each and the changes that it does not know yet."""
    arguments = page_arguments(query)
    with reading() as session:
        chosen = within(devices.select_devices(**query), Device.site_id, caller().sites)
        found = page(session, chosen, Device.id, **arguments)
        return Page(inquiries.describe_devices(session, found.items), found.next)


@blp.get("/devices/<uuid:device_id>")
@scope("stations:read", by_site=True)
@blp.response(200, schemas.DeviceDetailResponse)
def show_device(device_id: UUID) -> dict[str, Any]:
    """Show a device with all machines that were enrolled for it, and its allotments."""
    with reading() as session:
        shown = inquiries.describe_device(session, device_id)
        check_within(
            shown["site_id"], caller().sites, DeviceNotFound, f"There is no device {device_id}."
        )
        return shown


@blp.get("/overdrafts")
@scope("stations:read", by_site=True)
@blp.arguments(overdraft_schemas.ListOverdraftsRequest, location="query")
@blp.response(200, page_of(overdraft_schemas.OverdraftResponse))
def list_overdrafts(query: dict[str, Any]) -> Page:
    """List overdrafts, sales beyond what their devices were granted, newest first."""
    arguments = page_arguments(query)
    with reading() as session:
        return page(
            session,
            within(overdrafts.select_overdrafts(**query), Overdraft.site_id, caller().sites),
            Overdraft.id,
            descending=True,
            **arguments,
        )


@blp.post("/overdrafts/<uuid:sale_id>/settle")
@scope("stations:operate")
@idempotent
@blp.arguments(overdraft_schemas.SettleOverdraftRequest)
@blp.response(200, overdraft_schemas.OverdraftResponse)
def settle_overdraft(decision_in: dict[str, Any], sale_id: UUID) -> Overdraft:
    """Settle an overdraft: decide what covers the sale.

    `cover` takes free stock at the device's site, then at an open centre, and is refused with 409
    if that is not enough. `lose` moves no stock.
    """
    with transaction(CatalogBatch) as batch:
        return overdrafts.settle(batch, sale_id, actor=caller().subject, **decision_in)
