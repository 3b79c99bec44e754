"""Plan the shipment of a confirmed order, stop it when the order ends, and promise a day."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from services.logistics import rules
from services.logistics.batch import LogisticsBatch, PlannedWay
from services.logistics.models import Shipment, ShipmentLine, Site, VariantReadModel
from services.logistics.rules import ShipmentState, Way
from services.logistics.use_cases.contacts import erase_address, erase_contact
from services.logistics.use_cases.recalls import recall_shipment
from services.logistics.use_cases.site_tree import SiteIsClosed, UnknownSite
from services.logistics.use_cases.stopped import recalled_lots
from services.logistics.use_cases.ways import way_to
from shared.events import OrderConfirmed, ShipmentCancelled, ShipmentPlanned
from shared.events.placing import ConfirmedLine
from shared.runtime import clock
from shared.runtime.errors import Unprocessable
from shared.runtime.ids import new_id, new_reference


class UnknownVariant(Unprocessable):
    """Raised when a promise is asked for a variant that logistics does not know."""


class NoColdWay(Unprocessable):
    """Raised when goods that must stay cold have no cold way to a site."""


def plan_shipment(batch: LogisticsBatch, order: OrderConfirmed) -> Shipment:
    """Plan the shipment of a confirmed order.

    After a recall, orders confirms an order again with other lots. These replace the lots of its
    shipment.

    A confirmed order is planned even where a new one would be refused: to a site that has closed
    since, or over a way that is not cold throughout. A shipment of cold goods that has no cold way
    is marked `cold_gap`.

    Raises:
        UnknownSite: logistics never opened the order's site.
    """
    existing: Shipment | None = batch.get_for_update(Shipment.order_id, order.order_id)
    if existing is not None:
        _replace_lots(batch, existing, order.lines)
        return existing
    batch.load_sites([order.site_id])
    site = batch.sites[order.site_id]
    if site is None:
        raise UnknownSite(
            f"Order {order.order_ref} goes to site {order.site_id}, which does not exist."
        )
    variant_ids = {line.variant_id for line in order.lines}
    batch.load_variants(variant_ids)
    variants = [batch.variants[variant_id] for variant_id in variant_ids]
    # A variant that logistics does not know yet counts as one that needs no cold.
    cold = rules.needs_cold(variant.storage for variant in variants if variant is not None)
    planned = _planned_way(batch, site, cold)
    shipment = Shipment(
        id=new_id(),
        shipment_ref=new_reference("SHP"),
        order_id=order.order_id,
        order_ref=order.order_ref,
        site_id=order.site_id,
        collect=order.collect,
        state=ShipmentState.PLANNED,
        promised_on=planned.promised_on,
        cold=cold,
        cold_gap=planned.cold_gap,
        due_fen=order.due_fen,
        planned_at=clock.now(),
    )
    batch.track(Shipment.order_id, shipment)
    _append_lines(batch, shipment, order.lines)
    if order.collect:
        erase_address(batch, order.order_id)
    batch.record(
        shipment,
        ShipmentPlanned(
            shipment_id=shipment.id,
            shipment_ref=shipment.shipment_ref,
            order_id=order.order_id,
            site_id=order.site_id,
            promised_on=shipment.promised_on,
        ),
    )
    _recall_if_a_lot_is_recalled(batch, shipment, order.lines)
    return shipment


def _planned_way(batch: LogisticsBatch, site: Site, cold: bool) -> PlannedWay:
    """Return when goods reach a site; worked out once in a batch."""
    key = (site.id, cold)
    if key not in batch.planned_ways:
        way = way_to(site, cold=cold)
        cold_gap = cold and way is None
        if way is None:
            way = way_to(site, cold=False) or ()
        batch.planned_ways[key] = PlannedWay(rules.promised_on(clock.now(), way), cold_gap)
    return batch.planned_ways[key]


def _append_lines(
    batch: LogisticsBatch, shipment: Shipment, lines: Sequence[ConfirmedLine]
) -> None:
    for line in lines:
        for lot in line.lots:
            batch.append(
                ShipmentLine,
                shipment_id=shipment.id,
                line_no=line.line_no,
                variant_id=line.variant_id,
                lot_id=lot.lot_id,
                lot_code=lot.lot_code,
                location_id=lot.location_id,
                producer_id=lot.producer_id,
                quantity=lot.quantity,
            )


def _replace_lots(
    batch: LogisticsBatch, shipment: Shipment, lines: Sequence[ConfirmedLine]
) -> None:
    """Replace the lots of a shipment that is not packed; one that is packed keeps its lots."""
    if shipment.state != ShipmentState.PLANNED:
        return
    batch.flush()  # the shipment may have been planned in this batch
    batch.session.execute(delete(ShipmentLine).where(ShipmentLine.shipment_id == shipment.id))
    _append_lines(batch, shipment, lines)
    _recall_if_a_lot_is_recalled(batch, shipment, lines)


def _recall_if_a_lot_is_recalled(
    batch: LogisticsBatch, shipment: Shipment, lines: Sequence[ConfirmedLine]
) -> None:
    """Recall a shipment if one of its lots was recalled before its order was confirmed."""
    lots = [lot for line in lines for lot in line.lots]
    recalled = recalled_lots(batch, {lot.lot_id for lot in lots})
    if recalled:
        recall_shipment(batch, shipment, [lot for lot in lots if lot.lot_id in recalled])


def stop_shipment(batch: LogisticsBatch, order_id: UUID) -> None:
    """Cancel the shipment of an order that ended; if its goods have left, they must come back.

    A shipment that must come back becomes `REFUSED`. This records no fact, since orders has ended
    the order already. A shipment that is over stays as it is. If the order has no shipment, only
    its contact is erased.
    """
    shipment: Shipment | None = batch.get_for_update(Shipment.order_id, order_id)
    if shipment is None:
        erase_contact(batch, order_id)
        return
    now = clock.now()
    if ShipmentState.CANCELLED in rules.NEXT[shipment.state]:
        shipment.state, shipment.ended_at = ShipmentState.CANCELLED, now
        erase_contact(batch, order_id)
        batch.record(shipment, ShipmentCancelled(shipment_id=shipment.id, order_id=order_id))
    elif ShipmentState.REFUSED in rules.NEXT[shipment.state]:
        shipment.state, shipment.refused_at = ShipmentState.REFUSED, now
        shipment.refusal = rules.ORDER_CANCELLED


@dataclass(frozen=True)
class Promise:
    """The day on which goods ordered now reach a site, and their way there."""

    site_id: UUID
    promised_on: date
    cold: bool
    way: Way


def promise(session: Session, site_id: UUID, variant_ids: Iterable[UUID] = ()) -> Promise:
    """Return when goods ordered now would reach a site.

    Raises:
        UnknownSite, SiteIsClosed: the site does not exist, or is closed.
        UnknownVariant: logistics knows no variant with one of the ids.
        NoColdWay: a variant must stay cold, and no way to the site is cold throughout.
    """
    site = session.get(Site, site_id)
    if site is None:
        raise UnknownSite(f"There is no site {site_id}.")
    if site.closed_at is not None:
        raise SiteIsClosed(f"Site {site.code} is closed; choose another.")
    wanted = set(variant_ids)
    variants = (
        session.scalars(select(VariantReadModel).where(VariantReadModel.id.in_(wanted))).all()
        if wanted
        else []
    )
    unknown = wanted - {variant.id for variant in variants}
    if unknown:
        raise UnknownVariant(f"Variant {min(unknown)} is not listed; ask again later.")
    cold = rules.needs_cold(variant.storage for variant in variants)
    way = way_to(site, cold=cold)
    if way is None:
        raise NoColdWay(
            f"No way to site {site.code} keeps goods cold; choose another site, or other goods."
        )
    return Promise(site_id, rules.promised_on(clock.now(), way), cold, way)
