"""Which lots are held or recalled; a shipment that carries such a lot goes no further."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.logistics.batch import LogisticsBatch
from services.logistics.models import Shipment, ShipmentLine, StoppedLot
from services.logistics.rules import LOT_RECALLED, LotStatus, ShipmentState
from shared.runtime.errors import Conflict


class LotStopped(Conflict):
    """Raised when somebody moves on a shipment that carries goods of a held or recalled lot."""


class StoppingLot(NamedTuple):
    """A lot that stops a shipment."""

    lot_code: str
    status: LotStatus


def set_status(batch: LogisticsBatch, lot_id: UUID, status: LotStatus) -> bool:
    """Keep the status that catalog gave a lot; False: it was released and never stopped before."""
    lot: StoppedLot | None = batch.get_for_update(StoppedLot.lot_id, lot_id)
    if lot is not None:
        lot.status = status
        return True
    if status is LotStatus.RELEASED:
        return False
    batch.track(StoppedLot.lot_id, StoppedLot(lot_id=lot_id, status=status))
    return True


def recalled_lots(batch: LogisticsBatch, lot_ids: Iterable[UUID]) -> set[UUID]:
    """Return which of these lots are recalled; the rows read are locked. For the worker only.

    A request locks its shipment and only reads the lots: if it locked both, in the other order
    than the worker, the two could deadlock.
    """
    found = {lot_id: batch.get_for_update(StoppedLot.lot_id, lot_id) for lot_id in lot_ids}
    return {lot_id for lot_id, lot in found.items() if lot and lot.status is LotStatus.RECALLED}


def stopped_lots(session: Session, shipment_ids: Collection[UUID]) -> dict[UUID, list[StoppingLot]]:
    """Return the lots that stop these shipments, for those that any lot stops.

    Lock a shipment before you let it go on by this answer: a recall that commits later then finds
    it gone on.
    """
    rows = session.execute(
        select(ShipmentLine.shipment_id, ShipmentLine.lot_code, StoppedLot.status)
        .distinct()
        .join(StoppedLot, StoppedLot.lot_id == ShipmentLine.lot_id)
        .where(ShipmentLine.shipment_id.in_(shipment_ids), StoppedLot.status != LotStatus.RELEASED)
        .order_by(ShipmentLine.lot_code)
    )
    found: defaultdict[UUID, list[StoppingLot]] = defaultdict(list)
    for row in rows:
        found[row.shipment_id].append(StoppingLot(row.lot_code, row.status))
    return dict(found)


def is_recalled(stopped: Collection[StoppingLot]) -> bool:
    """Tell whether one of these lots is recalled, and not only held."""
    return any(lot.status is LotStatus.RECALLED for lot in stopped)


def check_lots(session: Session, shipment: Shipment) -> None:
    """Pass when all lots of a locked shipment may be sold.

    Raises:
        LotStopped: one is held or recalled; the message says what to do with the goods.
    """
    stopped = stopped_lots(session, [shipment.id]).get(shipment.id)
    if stopped is None:
        return
    if not is_recalled(stopped):
        action = "keep the goods where they are until the lot is released"
    elif shipment.state in (ShipmentState.PLANNED, ShipmentState.PACKED):
        action = "put its goods aside; the order gets other lots, or ends"
    else:
        action = f"send the goods back ({LOT_RECALLED})"
    lots = ", ".join(f"lot {lot.lot_code}, which is {lot.status}" for lot in stopped)
    raise LotStopped(
        f"Shipment {shipment.shipment_ref} carries {lots}: {action}.",
        lots=[{"lot_code": lot.lot_code, "status": lot.status.value} for lot in stopped],
    )
