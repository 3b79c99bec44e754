"""The route that lists the parcels at a till's site."""

from typing import Any

from services.logistics.rules import LotStatus
from services.logistics.schemas.till import ParcelsResponse
from services.logistics.use_cases import till
from services.logistics.use_cases.stopped import is_recalled
from shared.runtime import devices
from shared.web import Blueprint, caller, reading, scope

blp = Blueprint(
    "till",
    __name__,
    url_prefix="/api/logistics/v1/till",
    description="What a station's till asks for, with the key of its device.",
)


@blp.get("/parcels")
@scope(devices.TILL)
@blp.response(200, ParcelsResponse)
def list_parcels() -> dict[str, Any]:
    """List the parcels that wait to be collected at the calling device's site.

    With the answer a till can check a buyer's code while it is cut off: a code is right if the
    SHA-256 over the salt's bytes and the six digits is the digest. The till uploads each hand-over
    to orders, as an entry of its journal. It must not hand over the parcels under `stopped`.
    """
    device = devices.device_of(caller())
    with reading() as session:
        parcels = till.parcels_at(session, device.site_id)
        return {
            "items": [
                {
                    "shipment_id": shipment.id,
                    "shipment_ref": shipment.shipment_ref,
                    "order_ref": shipment.order_ref,
                    "due_fen": shipment.due_fen,
                    "code_salt": code.salt.hex(),
                    "code_digest": code.digest.hex(),
                    "code_locked": till.is_locked(code),
                    "arrived_at": shipment.arrived_at,
                }
                for shipment, code in parcels.waiting
            ],
            "stopped": [
                {
                    "shipment_id": shipment.id,
                    "shipment_ref": shipment.shipment_ref,
                    "order_ref": shipment.order_ref,
                    "stopped": LotStatus.RECALLED if is_recalled(lots) else LotStatus.HELD,
                    "lots": [lot.lot_code for lot in lots],
                }
                for shipment, lots in parcels.stopped
            ],
        }
