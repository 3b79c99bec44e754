"""Shipments are planned from confirmed orders, with a day promised, and stopped with them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import delete
from sqlalchemy.orm import Session

from services.logistics import rules
from services.logistics.models import DeliveryAddress, Shipment, ShipmentLine, Site, Variant
from services.logistics.rules import ShipmentState, Way
from services.logistics.use_cases.contacts import forget_contact
from services.logistics.use_cases.known import known, read
from services.logistics.use_cases.recalls import call_off
from services.logistics.use_cases.site_tree import SiteIsClosed, UnknownSite
from services.logistics.use_cases.stopped import recalled
from services.logistics.use_cases.ways import way_to
from shared.events import ShipmentCancelled, ShipmentPlanned
from shared.messaging.outbox import record
from shared.messaging.rows import locked, remember
from shared.runtime import clock
from shared.runtime.errors import Unprocessable
from shared.runtime.ids import new_id, new_reference


class UnknownVariant(Unprocessable):
    """Raised when a promise is asked for a variant that logistics has not heard of."""


class NoColdWay(Unprocessable):
    """Raised when goods that must stay cold have no cold way to a site."""


def plan_shipment(
    session: Session,
    *,
    order_id: UUID,
    order_ref: str,
    site_id: UUID,
    collect: bool,
    lines: Sequence[Mapping[str, Any]],
    due_fen: int,
) -> Shipment:
    """Plan the shipment of a confirmed order; an order that has one keeps it.

    One that was stopped for a recalled lot is confirmed once more, with other lots: these take
    the place of the ones before.

    The order stands, so it is planned also where it would not be accepted any more: to a site
    closed in the meantime, and, marked `cold_gap`, over a way that is not cold throughout.

    Raises:
        UnknownSite: logistics, which opens all sites, never opened this one.
    """
    present: Shipment | None = locked(session, Shipment.order_id, order_id)
    if present is not None:
        _replace_lots(session, present, lines)
        return present
    site: Site | None = known(session, Site.id, site_id)
    if site is None:
        raise UnknownSite(f"Order {order_ref} goes to site {site_id}, which does not exist.")
    cold = rules.needs_cold(_storages(session, {line["variant_id"] for line in lines}))
    cold_way = way_to(site, cold=True) if cold else None
    way = cold_way if cold_way is not None else way_to(site, cold=False) or ()
    now = clock.now()
    shipment = Shipment(
        id=new_id(),
        shipment_ref=new_reference("SHP"),
        order_id=order_id,
        order_ref=order_ref,
        site_id=site_id,
        collect=collect,
        state=ShipmentState.PLANNED,
        promised_on=rules.promised_on(now, way),
        cold=cold,
        cold_gap=cold and cold_way is None,
        due_fen=due_fen,
        planned_at=now,
        lines=[_line(line, lot) for line in lines for lot in line["lots"]],
    )
    remember(session, Shipment.order_id, shipment)
    if collect:
        _drop_address(session, order_id)
    record(
        session,
        ShipmentPlanned,
        shipment,
        shipment_id=shipment.id,
        shipment_ref=shipment.shipment_ref,
        order_id=order_id,
        site_id=site_id,
        promised_on=shipment.promised_on,
    )
    _call_off_recalled(session, shipment, shipment.lines)
    return shipment


def _replace_lots(session: Session, shipment: Shipment, lines: Sequence[Mapping[str, Any]]) -> None:
    """Let a shipment that is not packed carry these lots; one that is packed stays as it is."""
    if shipment.state != ShipmentState.PLANNED:
        return
    session.execute(delete(ShipmentLine).where(ShipmentLine.shipment_id == shipment.id))
    rows = [_line(line, lot) for line in lines for lot in line["lots"]]
    for row in rows:
        row.shipment_id = shipment.id
    session.add_all(rows)
    _call_off_recalled(session, shipment, rows)


def _call_off_recalled(session: Session, shipment: Shipment, lines: Sequence[ShipmentLine]) -> None:
    """Publish at once that a shipment cannot leave: the recall came before the confirmation."""
    gone = recalled(session, {line.lot_id for line in lines})
    if gone:
        call_off(session, shipment, [line for line in lines if line.lot_id in gone])


def stop_shipment(session: Session, order_id: UUID) -> None:
    """Undo the shipment of an order that ended: cancel it, or call it back when it has left.

    A shipment that is over, or an order that never had one, leaves nothing to undo.
    """
    shipment: Shipment | None = locked(session, Shipment.order_id, order_id)
    if shipment is None:
        forget_contact(session, order_id)
        return
    now = clock.now()
    if ShipmentState.CANCELLED in rules.NEXT[shipment.state]:
        shipment.state, shipment.ended_at = ShipmentState.CANCELLED, now
        forget_contact(session, order_id)
        record(session, ShipmentCancelled, shipment, shipment_id=shipment.id, order_id=order_id)
    elif ShipmentState.REFUSED in rules.NEXT[shipment.state]:
        shipment.state, shipment.refused_at = ShipmentState.REFUSED, now
        shipment.refusal = "order_cancelled"


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
        UnknownSite, SiteIsClosed: the site does not exist, or takes nothing new.
        UnknownVariant: nothing is known of how a variant must be stored.
        NoColdWay: one must stay cold and no way there is cold throughout.
    """
    site: Site | None = known(session, Site.id, site_id)
    if site is None:
        raise UnknownSite(f"There is no site {site_id}.")
    if site.closed_at is not None:
        raise SiteIsClosed(f"Site {site.code} is closed; choose another.")
    wanted = set(variant_ids)
    read(session, Variant.id, wanted)
    for variant_id in wanted:
        if known(session, Variant.id, variant_id) is None:
            raise UnknownVariant(f"Variant {variant_id} is not listed; ask again later.")
    cold = rules.needs_cold(_storages(session, wanted))
    way = way_to(site, cold=cold)
    if way is None:
        raise NoColdWay(
            f"No way to site {site.code} keeps goods cold; choose another site, or other goods."
        )
    return Promise(site_id, rules.promised_on(clock.now(), way), cold, way)


def _storages(session: Session, variant_ids: Iterable[UUID]) -> list[str | None]:
    """Return the storage classes of variants; one not heard of yet counts as keeping anywhere."""
    wanted = set(variant_ids)
    read(session, Variant.id, wanted)
    variants = (known(session, Variant.id, variant_id) for variant_id in wanted)
    return [variant.storage for variant in variants if variant is not None]


def _line(line: Mapping[str, Any], lot: Mapping[str, Any]) -> ShipmentLine:
    return ShipmentLine(
        line_no=line["line_no"],
        variant_id=line["variant_id"],
        lot_id=lot["lot_id"],
        lot_code=lot["lot_code"],
        location_id=lot["location_id"],
        producer_id=lot["producer_id"],
        quantity=lot["quantity"],
    )


def _drop_address(session: Session, order_id: UUID) -> None:
    # The buyer comes to the site: the clerk needs a name and a phone, but no address.
    contact: DeliveryAddress | None = locked(session, DeliveryAddress.order_id, order_id)
    if contact is not None:
        contact.address = None
