"""Check that logistics' own rows agree, and list what logistics holds of each order."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, selectinload

from services.logistics import rules
from services.logistics.models import CollectionCode, ProofOfDelivery, Shipment, ShipmentLine
from services.logistics.rules import ShipmentRows
from shared.runtime.verify import Difference, FactKind, Report, by_lot, read_snapshot, stream

_MOMENTS = ("packed", "handed_over", "arrived", "refused", "ended")


def compare(session: Session) -> Report:
    """Return the differences within the rows of each shipment; reads all shipments."""
    read_snapshot(session)
    report = Report("logistics", {"shipments": 0})
    report.add(_of_shipments(session, report))
    return report


def _of_shipments(session: Session, report: Report) -> Iterator[Difference]:
    for row in stream(session, _every_shipment()):
        report.checked["shipments"] += 1
        for check, expected, found in rules.disagreements(_rows_of(row)):
            yield Difference(
                f"shipment_{check}",
                {"shipment_id": row.id, "order_id": row.order_id},
                expected,
                found,
                f"Shipment {row.shipment_ref} of order {row.order_ref} is {row.state}: "
                f"{check} should be {expected}, and is {found}.",
            )


def _every_shipment() -> Select[Any]:
    carried = (
        select(ShipmentLine.shipment_id, func.sum(ShipmentLine.quantity).label("quantity"))
        .group_by(ShipmentLine.shipment_id)
        .subquery()
    )
    return (
        select(
            Shipment.id,
            Shipment.shipment_ref,
            Shipment.order_id,
            Shipment.order_ref,
            Shipment.state,
            Shipment.collect,
            Shipment.due_fen,
            Shipment.collected_fen,
            *(getattr(Shipment, f"{moment}_at") for moment in _MOMENTS),
            carried.c.quantity,
            ProofOfDelivery.collected_fen.label("proven_fen"),
            ProofOfDelivery.difference_reason,
            CollectionCode.shipment_id.label("code"),
        )
        .outerjoin(carried, carried.c.shipment_id == Shipment.id)
        .outerjoin(ProofOfDelivery, ProofOfDelivery.shipment_id == Shipment.id)
        .outerjoin(CollectionCode, CollectionCode.shipment_id == Shipment.id)
        .order_by(Shipment.id)
    )


def _rows_of(row: Any) -> ShipmentRows:
    return ShipmentRows(
        state=row.state,
        collect=row.collect,
        due_fen=row.due_fen,
        collected_fen=row.collected_fen,
        moments=frozenset(m for m in _MOMENTS if getattr(row, f"{m}_at") is not None),
        quantity=int(row.quantity or 0),
        proven_fen=row.proven_fen,
        has_reason=bool(row.difference_reason),
        has_code=row.code is not None,
    )


def shipment_values(session: Session, shipments: Sequence[Shipment]) -> Iterator[Mapping[str, Any]]:
    """Go through shipments: the state of each, and the quantity that it carries of each lot."""
    for shipment in shipments:
        yield {
            "state": str(shipment.state),
            "lots": by_lot((line.lot_id, line.quantity) for line in shipment.lines),
        }


#: The facts of logistics, by their kind in the HTTP API.
FACTS: Mapping[str, FactKind[Any]] = {
    "shipments": FactKind(
        select(Shipment).options(selectinload(Shipment.lines)), Shipment.order_id, shipment_values
    )
}
