"""What a lot that is held, recalled or released again means for the shipments that carry it.

A hold stops them where they are. A recall is final: a parcel that has not left waits for other
lots, one on its way comes back, and one that its buyer has is announced.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.logistics.models import Shipment, ShipmentLine, StoppedLot
from services.logistics.rules import LOT_RECALLED, LotStatus, ShipmentState
from services.logistics.use_cases.stopped import note_status
from services.logistics.use_cases.travelling import advance, call_back, go_on
from shared.events import ShipmentRecalled
from shared.messaging.outbox import record
from shared.messaging.rows import lock_rows, locked

#: Where a shipment is, in the words of `ShipmentRecalled`. One that is in none of these states
#: comes back already, or never left.
_WHERE = {
    ShipmentState.PLANNED: "here",
    ShipmentState.PACKED: "here",
    ShipmentState.HANDED_OVER: "on_its_way",
    ShipmentState.DELIVERED: "with_buyer",
    ShipmentState.COLLECTED: "with_buyer",
}


def hold_lot(session: Session, lot_id: UUID) -> None:
    """Stop all shipments that carry a lot, wherever they are, until it is released."""
    note_status(session, lot_id, LotStatus.HELD)


def release_lot(session: Session, lot_id: UUID) -> None:
    """Let the shipments go on that a held lot has stopped."""
    if note_status(session, lot_id, LotStatus.RELEASED):
        for shipment, _ in _carrying(session, lot_id):
            go_on(session, shipment)


def recall_lot(session: Session, lot_id: UUID) -> None:
    """Stop or call back all shipments that carry a lot, and publish where each of them is."""
    note_status(session, lot_id, LotStatus.RECALLED)
    for shipment, lines in _carrying(session, lot_id):
        call_off(session, shipment, lines)


def call_off(session: Session, shipment: Shipment, lines: Iterable[ShipmentLine]) -> None:
    """Stop or call back a locked shipment whose `lines` are of recalled lots, and publish it."""
    where = _WHERE.get(shipment.state)
    if where is None:
        return
    if shipment.state == ShipmentState.PACKED:
        advance(shipment, ShipmentState.PLANNED)
        shipment.packed_at = None
    record(
        session,
        ShipmentRecalled,
        shipment,
        shipment_id=shipment.id,
        order_id=shipment.order_id,
        where=where,
        lots=[
            {
                "lot_id": line.lot_id,
                "lot_code": line.lot_code,
                "location_id": line.location_id,
                "producer_id": line.producer_id,
                "quantity": line.quantity,
            }
            for line in lines
        ],
    )
    if shipment.state == ShipmentState.HANDED_OVER:
        call_back(session, shipment, LOT_RECALLED)


def warn(session: Session, shipment: Shipment) -> None:
    """Publish that a cut-off till gave recalled goods of a locked shipment to the buyer."""
    lines = session.scalars(
        select(ShipmentLine)
        .join(StoppedLot, StoppedLot.lot_id == ShipmentLine.lot_id)
        .where(ShipmentLine.shipment_id == shipment.id, StoppedLot.status == LotStatus.RECALLED)
    ).all()
    if lines:
        call_off(session, shipment, lines)


def _carrying(session: Session, lot_id: UUID) -> list[tuple[Shipment, Sequence[ShipmentLine]]]:
    """Return the shipments that carry a lot, locked, each with its lines of it.

    The lot's row is written first: a shipment that is dispatched at the same time either sees it
    there or is found here as dispatched.
    """
    session.flush()
    lines: defaultdict[UUID, list[ShipmentLine]] = defaultdict(list)
    for line in session.scalars(select(ShipmentLine).where(ShipmentLine.lot_id == lot_id)):
        lines[line.shipment_id].append(line)
    lock_rows(session, Shipment.id, lines)
    found = ((locked(session, Shipment.id, each), of_lot) for each, of_lot in lines.items())
    return [(shipment, of_lot) for shipment, of_lot in found if shipment is not None]
