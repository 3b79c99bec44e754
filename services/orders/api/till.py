"""Routes that a station's till calls with its own key."""

from typing import Any

from services.orders.api.limits import read_limits
from services.orders.batch import OrdersBatch
from services.orders.rules.till import parse_entry
from services.orders.schemas import till as schemas
from services.orders.use_cases import stations
from services.orders.use_cases.upload import upload
from shared.runtime import clock, devices
from shared.web import Blueprint, caller, reading, scope, settings, transaction

blp = Blueprint(
    "till",
    __name__,
    url_prefix="/api/orders/v1/till",
    description="Entries of a station's till, and what became of them.",
)


@blp.post("/entries")
@scope("till:upload")
@blp.arguments(schemas.UploadEntriesRequest, example=schemas.UPLOAD_EXAMPLE)
@blp.response(200, schemas.UploadedEntriesResponse)
def upload_entries(upload_in: dict[str, Any]) -> dict[str, Any]:
    """Upload entries of the calling device's journal.

    A till may upload in any order, in pieces and repeatedly: device, epoch and number name an
    entry, which counts once. Each entry has its own answer. An entry that cannot be right is stored
    as disputed and does not stop the others.
    """
    device = devices.device_of(caller())
    entries = [parse_entry(raw) for raw in upload_in["entries"]]
    with transaction(OrdersBatch) as batch:
        answers = upload(batch, device, entries, read_limits(settings().environment))
    return {
        "device_id": device.device_id,
        "epoch": device.epoch,
        "server_time": clock.now(),
        "answers": answers,
    }


@blp.get("/attention")
@scope("till")
@blp.response(200, schemas.AttentionResponse)
def show_attention() -> dict[str, Any]:
    """Show the missing entries of the device's journal, and those that are or were disputed."""
    device = devices.device_of(caller())
    with reading() as session:
        return stations.attention(session, device)
