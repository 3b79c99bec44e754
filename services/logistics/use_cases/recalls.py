"""A lot is held, recalled or released again, and so are the shipments that carry it.

A hold stops them where they are. A recall is final: a parcel that has not left waits for other
lots, a parcel on its way comes back, and a buyer who has the goods is warned.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from sqlalchemy import select

from services.logistics.batch import LogisticsBatch
from services.logistics.models import Shipment, ShipmentLine, StoppedLot
from services.logistics.rules import LOT_RECALLED, LotStatus, ShipmentState
from services.logistics.use_cases.stopped import set_status
from services.logistics.use_cases.travelling import call_back, resume, shipped_lot, transition
from shared.events import ShipmentRecalled
from shared.events.placing import TakenLot
from shared.events.travel import RecalledWhere

#: Where a shipment is, in the words of `ShipmentRecalled`. In all other states it comes back
#: already, or never left.
_WHERE: Mapping[ShipmentState, RecalledWhere] = {
    ShipmentState.PLANNED: "here",
    ShipmentState.PACKED: "here",
    ShipmentState.HANDED_OVER: "on_its_way",
    ShipmentState.DELIVERED: "with_buyer",
    ShipmentState.COLLECTED: "with_buyer",
}


def hold_lot(batch: LogisticsBatch, lot_id: UUID) -> None:
    """Stop all shipments that carry a lot, wherever they are, until it is released."""
    set_status(batch, lot_id, LotStatus.HELD)


def release_lot(batch: LogisticsBatch, lot_id: UUID) -> None:
    """Resume the shipments that a held lot has stopped."""
    if set_status(batch, lot_id, LotStatus.RELEASED):
        for shipment, _ in _carrying(batch, lot_id):
            resume(batch, shipment)


def recall_lot(batch: LogisticsBatch, lot_id: UUID) -> None:
    """Stop or call back all shipments that carry a lot, and publish where each of them is."""
    set_status(batch, lot_id, LotStatus.RECALLED)
    for shipment, lines in _carrying(batch, lot_id):
        recall_shipment(batch, shipment, map(shipped_lot, lines))


def recall_shipment(batch: LogisticsBatch, shipment: Shipment, lots: Iterable[TakenLot]) -> None:
    """Stop or call back a locked shipment that carries recalled `lots`, and publish it."""
    where = _WHERE.get(shipment.state)
    if where is None:
        return
    if shipment.state == ShipmentState.PACKED:
        transition(shipment, ShipmentState.PLANNED)
        shipment.packed_at = None
    batch.record(
        shipment,
        ShipmentRecalled(
            shipment_id=shipment.id,
            order_id=shipment.order_id,
            where=where,
            lots=[*lots],
        ),
    )
    if shipment.state == ShipmentState.HANDED_OVER:
        call_back(batch, shipment, LOT_RECALLED)


def warn_of_recall(batch: LogisticsBatch, shipment: Shipment) -> None:
    """Publish that a cut-off till handed recalled goods of a locked shipment to the buyer."""
    lines = batch.session.scalars(
        select(ShipmentLine)
        .join(StoppedLot, StoppedLot.lot_id == ShipmentLine.lot_id)
        .where(ShipmentLine.shipment_id == shipment.id, StoppedLot.status == LotStatus.RECALLED)
    ).all()
    if lines:
        recall_shipment(batch, shipment, map(shipped_lot, lines))


def _carrying(batch: LogisticsBatch, lot_id: UUID) -> list[tuple[Shipment, Sequence[ShipmentLine]]]:
    """Return the shipments that carry a lot, locked, each with its lines of it.

    The lot's row is written first: a dispatch at the same time then either sees the new status,
    or is found here.
    """
    batch.flush()
    lines: defaultdict[UUID, list[ShipmentLine]] = defaultdict(list)
    for line in batch.session.scalars(select(ShipmentLine).where(ShipmentLine.lot_id == lot_id)):
        lines[line.shipment_id].append(line)
    batch.load_for_update(Shipment.id, lines)
    found = ((batch.get_for_update(Shipment.id, each), of_lot) for each, of_lot in lines.items())
    return [(shipment, of_lot) for shipment, of_lot in found if shipment is not None]
