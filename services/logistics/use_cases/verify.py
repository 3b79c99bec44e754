"""Check that logistics' own rows agree, and list what logistics holds of each order."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, selectinload

from services.logistics import rules
from services.logistics.models import CollectionCode, ProofOfDelivery, Shipment, ShipmentLine
from services.logistics.rules import ShipmentRows
from shared.runtime.paging import Page, page
from shared.runtime.verify import MOST_DIFFERENCES, Difference, Fact, Report, by_lot, read_snapshot

#: Rows fetched at once: memory must not grow with the number of shipments.
FETCHED = 2000
_MOMENTS = ("packed", "handed_over", "arrived", "refused", "ended")


def compare(session: Session) -> Report:
    """Return the differences within the rows of each shipment; reads all shipments."""
    read_snapshot(session)
    report = Report("logistics", {"shipments": 0})
    for row in session.execute(_every_shipment().execution_options(yield_per=FETCHED)):
        report.checked["shipments"] += 1
        for check, expected, found in rules.disagreements(_rows_of(row)):
            report.differences.append(
                Difference(
                    f"shipment_{check}",
                    {"shipment_id": str(row.id), "order_id": str(row.order_id)},
                    expected,
                    found,
                    f"Shipment {row.shipment_ref} of order {row.order_ref} is {row.state}: "
                    f"{check} should be {expected}, and is {found}.",
                )
            )
    cut = len(report.differences) - MOST_DIFFERENCES
    if cut > 0:
        del report.differences[MOST_DIFFERENCES:]
        report.notes.append(f"{cut} more differences of shipments are not listed.")
    return report


def shipment_facts(
    session: Session, ids: Sequence[UUID], *, limit: int, cursor: str | None = None
) -> Page[Fact]:
    """Return what logistics holds of orders: the shipment's state, and how much of each lot."""
    statement = select(Shipment).options(selectinload(Shipment.lines))
    if ids:
        statement = statement.where(Shipment.order_id.in_(ids))
    found = page(session, statement, Shipment.order_id, limit=limit, cursor=cursor)
    facts = [
        Fact(
            shipment.order_id,
            {
                "state": str(shipment.state),
                "lots": by_lot([(line.lot_id, line.quantity) for line in shipment.lines]),
            },
        )
        for shipment in found.items
    ]
    return Page(facts, found.next)


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
