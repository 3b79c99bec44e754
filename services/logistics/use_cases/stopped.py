"""Which lots are held or recalled; a shipment that carries one of them goes no further."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.logistics.models import Shipment, ShipmentLine, StoppedLot
from services.logistics.rules import LOT_RECALLED, LotStatus, ShipmentState
from shared.messaging.rows import lock_rows, locked, remember
from shared.runtime.errors import Conflict


class LotStopped(Conflict):
    """Raised when a shipment shall go on that carries goods of a held or recalled lot."""


class Stopped(NamedTuple):
    """A lot that stops a shipment."""

    lot_code: str
    status: LotStatus


def note_status(session: Session, lot_id: UUID, status: LotStatus) -> bool:
    """Keep what catalog said of a lot; False: it was released and has never been stopped."""
    lot: StoppedLot | None = locked(session, StoppedLot.lot_id, lot_id)
    if lot is not None:
        lot.status = status
        return True
    if status is LotStatus.RELEASED:
        return False
    remember(session, StoppedLot.lot_id, StoppedLot(lot_id=lot_id, status=status))
    return True


def lock_lots(session: Session, lot_ids: Iterable[UUID]) -> None:
    """Lock and load in one statement what is known of these lots. For the consumer only.

    A request locks its shipment and only reads these rows: if it locked both, in the other order,
    the two could deadlock.
    """
    lock_rows(session, StoppedLot.lot_id, lot_ids)


def recalled(session: Session, lot_ids: Iterable[UUID]) -> set[UUID]:
    """Return which of these lots are recalled; needs no statement after `lock_lots`."""
    found = {lot_id: locked(session, StoppedLot.lot_id, lot_id) for lot_id in lot_ids}
    return {lot_id for lot_id, lot in found.items() if lot and lot.status is LotStatus.RECALLED}


def stopped_lots(session: Session, shipment_ids: Collection[UUID]) -> dict[UUID, list[Stopped]]:
    """Return the lots that stop these shipments; one that nothing stops is not there.

    Whoever lets a shipment go on has locked it before, so that no lot is missed.
    """
    rows = session.execute(
        select(ShipmentLine.shipment_id, ShipmentLine.lot_code, StoppedLot.status)
        .distinct()
        .join(StoppedLot, StoppedLot.lot_id == ShipmentLine.lot_id)
        .where(ShipmentLine.shipment_id.in_(shipment_ids), StoppedLot.status != LotStatus.RELEASED)
        .order_by(ShipmentLine.lot_code)
    )
    found: defaultdict[UUID, list[Stopped]] = defaultdict(list)
    for row in rows:
        found[row.shipment_id].append(Stopped(row.lot_code, row.status))
    return dict(found)


def is_recalled(stopped: Collection[Stopped]) -> bool:
    """Tell whether one of these lots is recalled, and not only held."""
    return any(lot.status is LotStatus.RECALLED for lot in stopped)


def check_lots(session: Session, shipment: Shipment) -> None:
    """Let a locked shipment go on if all of its lots may be sold.

    Raises:
        LotStopped: one is held or recalled; the message says what to do with the goods.
    """
    stopped = stopped_lots(session, [shipment.id]).get(shipment.id)
    if stopped is None:
        return
    if not is_recalled(stopped):
        todo = "keep the goods where they are until the lot is released"
    elif shipment.state in (ShipmentState.PLANNED, ShipmentState.PACKED):
        todo = "put its goods aside; the order gets other lots, or ends"
    else:
        todo = f"send the goods back ({LOT_RECALLED})"
    lots = ", ".join(f"lot {lot.lot_code}, which is {lot.status}" for lot in stopped)
    raise LotStopped(
        f"Shipment {shipment.shipment_ref} carries {lots}: {todo}.",
        lots=[{"lot_code": lot.lot_code, "status": lot.status.value} for lot in stopped],
    )
