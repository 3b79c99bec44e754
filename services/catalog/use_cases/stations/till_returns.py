"""A device gives goods back to the free stock; each return counts once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select

from services.catalog.batch import CatalogBatch
from services.catalog.models import Allotment, AllotmentReturn
from services.catalog.rules import AllotmentStatus, ReturnStatus
from services.catalog.use_cases.stations.allotment_returns import give_back
from services.catalog.use_cases.stations.allotments import lock_for_allotments
from services.catalog.use_cases.stations.devices import lock_device
from services.catalog.use_cases.stock.ledger import lock_lot
from shared.runtime import clock
from shared.runtime import devices as keys
from shared.runtime.logs import get

log = get(__name__)

#: The answer to a return that was booked before.
DUPLICATE = "duplicate"


@dataclass(frozen=True)
class ReturnAnswer:
    """What became of one return."""

    return_id: UUID | None
    #: `accepted`, `duplicate`, or `disputed` with a reason.
    status: str
    reason: str | None


def take_returns(
    batch: CatalogBatch, caller: keys.Device, returns: Sequence[Mapping[str, Any]]
) -> list[ReturnAnswer]:
    """Book goods that a device gave back; a return that cannot be booked is stored as disputed.

    The device has subtracted them from what it may sell before. A `return_id` that was used before
    is a duplicate, or disputed if it names another return.
    """
    lock_for_allotments(batch, {each["allotment_id"] for each in returns})
    lock_device(batch, caller.device_id)
    batch.load_for_update(AllotmentReturn.return_id, (each["return_id"] for each in returns))
    allotments = {
        allotment.id: allotment
        for allotment in batch.session.scalars(
            select(Allotment).where(Allotment.id.in_([each["allotment_id"] for each in returns]))
        )
    }
    return [_take(batch, caller, each, allotments.get(each["allotment_id"])) for each in returns]


def unreadable(caller: keys.Device, return_id: UUID | None) -> ReturnAnswer:
    """Answer a return that cannot be read: no goods move, so the device still has them."""
    log.warning("return unreadable", device_id=caller.device_id, return_id=return_id)
    return ReturnAnswer(return_id, ReturnStatus.DISPUTED.value, "unreadable")


def _take(
    batch: CatalogBatch, caller: keys.Device, said: Mapping[str, Any], allotment: Allotment | None
) -> ReturnAnswer:
    known: AllotmentReturn | None = batch.get_for_update(
        AllotmentReturn.return_id, said["return_id"]
    )
    if known is not None:
        return _again(caller, said, known)
    reason = _problem(caller, said, allotment)
    status = ReturnStatus.ACCEPTED if reason is None else ReturnStatus.DISPUTED
    batch.track(
        AllotmentReturn.return_id,
        AllotmentReturn(
            return_id=said["return_id"],
            device_id=caller.device_id,
            epoch=caller.epoch,
            allotment_id=said["allotment_id"],
            quantity=said["quantity"],
            status=status.value,
            reason=reason,
            at=clock.now(),
        ),
    )
    if reason is None:
        assert allotment is not None
        give_back(
            batch,
            lock_lot(batch, allotment.lot_id),
            lock_device(batch, caller.device_id),
            allotment,
            said["quantity"],
            f"device/{caller.device_id}/{caller.epoch}",
        )
    return ReturnAnswer(said["return_id"], status.value, reason)


def _again(caller: keys.Device, said: Mapping[str, Any], known: AllotmentReturn) -> ReturnAnswer:
    same = (known.device_id, known.epoch, known.allotment_id, known.quantity) == (
        caller.device_id,
        caller.epoch,
        said["allotment_id"],
        said["quantity"],
    )
    if not same:
        return ReturnAnswer(said["return_id"], ReturnStatus.DISPUTED.value, "other_content")
    if known.status == ReturnStatus.DISPUTED:
        return ReturnAnswer(said["return_id"], known.status, known.reason)
    return ReturnAnswer(said["return_id"], DUPLICATE, None)


def _problem(
    caller: keys.Device, said: Mapping[str, Any], allotment: Allotment | None
) -> str | None:
    """Return the reason why goods cannot be taken back, as a word; None: they can."""
    if allotment is None or (allotment.device_id, allotment.epoch) != (
        caller.device_id,
        caller.epoch,
    ):
        return "unknown_allotment"
    if allotment.status == AllotmentStatus.CLOSED:
        return "allotment_closed"
    if said["quantity"] > allotment.remaining:
        return "beyond_remaining"
    return None
