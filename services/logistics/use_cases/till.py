"""Which parcels a station's till may hand over, and which it reports as handed over.

A till works while it is cut off, so its report comes late and may be wrong. Such a report is never
an error here: logistics refuses it by a published fact, and orders shows the clerk the refusal.
"""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from services.logistics import rules
from services.logistics.batch import LogisticsBatch
from services.logistics.models import CollectionCode, ProofOfDelivery, Shipment, UnplannedParcel
from services.logistics.rules import ShipmentState
from services.logistics.use_cases.hand_over import collect
from services.logistics.use_cases.recalls import warn_of_recall
from services.logistics.use_cases.stopped import StoppingLot, stopped_lots
from shared.events import HandOverRefused, ParcelHandedOver
from shared.messaging.batch import Versioned
from shared.runtime import clock
from shared.runtime.errors import Conflict, FarmgateError, NotFound, Unprocessable, slug_of

#: Parcels in one answer to a till; a site has room for some dozens.
MOST_PARCELS = 500


class UnplannedShipment(NotFound):
    """A refusal: a till handed over a parcel that logistics never planned."""


class AtAnotherSite(Conflict):
    """A refusal: a till handed over a parcel of another site."""


class CollectedBefore(Conflict):
    """A refusal: a till handed over a parcel that was collected before."""


def apply_hand_over(batch: LogisticsBatch, parcel: ParcelHandedOver) -> None:
    """Mark a parcel that a till handed over, for a code or a name, as collected.

    A parcel of a recalled lot is with its buyer all the same, and the buyer is warned. A hand-over
    that cannot be right is refused by `HandOverRefused`: a wrong or locked code, a wrong amount, a
    parcel that is not there or was collected before. A wrong code counts as a try. The same entry
    of the till's journal counts once.
    """
    shipment: Shipment | None = batch.get_for_update(Shipment.id, parcel.shipment_id)
    if shipment is None:
        _refuse(batch, _unplanned(batch, parcel.shipment_id), parcel, UnplannedShipment)
        return
    try:
        if _is_applied(batch.session, shipment, parcel):
            return
        outcome: Shipment | FarmgateError = collect(
            batch,
            shipment.id,
            code=parcel.code,
            # A till may send longer texts than these columns hold.
            received_by=parcel.received_by and parcel.received_by[:100],
            collected_fen=parcel.collected_fen,
            difference_reason=parcel.difference_reason and parcel.difference_reason[:200],
            by=f"device/{parcel.device_code}",
            entry_id=parcel.entry_id,
        )
    except (Conflict, Unprocessable) as error:
        # Nothing was changed: a collection is refused before it begins.
        outcome = error
    if isinstance(outcome, FarmgateError):
        _refuse(batch, shipment, parcel, type(outcome))
    else:
        warn_of_recall(batch, shipment)


def _is_applied(session: Session, shipment: Shipment, parcel: ParcelHandedOver) -> bool:
    """Tell whether a shipment was collected by this very entry.

    Raises:
        CollectedBefore: it was collected, and not by this entry.
        AtAnotherSite: the till's site is not the shipment's.
    """
    if shipment.state == ShipmentState.COLLECTED:
        proof = session.get_one(ProofOfDelivery, shipment.id)
        if proof.entry_id == parcel.entry_id:
            return True
        raise CollectedBefore(f"Shipment {shipment.shipment_ref} was collected before.")
    if shipment.site_id != parcel.site_id:
        raise AtAnotherSite(f"Shipment {shipment.shipment_ref} waits at another site.")
    return False


def _unplanned(batch: LogisticsBatch, shipment_id: UUID) -> UnplannedParcel:
    row: UnplannedParcel | None = batch.get_for_update(UnplannedParcel.shipment_id, shipment_id)
    if row is None:
        row = UnplannedParcel(shipment_id=shipment_id, first_told_at=clock.now(), version=0)
        batch.track(UnplannedParcel.shipment_id, row)
    return row


def _refuse(
    batch: LogisticsBatch,
    aggregate: Versioned,
    parcel: ParcelHandedOver,
    error: type[FarmgateError],
) -> None:
    batch.record(
        aggregate,
        HandOverRefused(
            shipment_id=parcel.shipment_id,
            entry_id=parcel.entry_id,
            reason=slug_of(error.__name__),
        ),
    )


@dataclass(frozen=True)
class Parcels:
    """The parcels at a site, newest first: those to hand over, and those to keep back."""

    waiting: list[tuple[Shipment, CollectionCode]]
    stopped: list[tuple[Shipment, list[StoppingLot]]]


def parcels_at(session: Session, site_id: UUID) -> Parcels:
    """Return the shipments that wait at a site to be collected, at most `MOST_PARCELS`.

    A shipment with a held or recalled lot is among the stopped ones. One with a recalled lot has
    been called back, and stays there until its return is recorded.
    """
    called_back = and_(
        Shipment.state == ShipmentState.REFUSED, Shipment.refusal == rules.LOT_RECALLED
    )
    statement = (
        select(Shipment, CollectionCode)
        .join(CollectionCode, CollectionCode.shipment_id == Shipment.id)
        .where(
            Shipment.site_id == site_id,
            or_(Shipment.state == ShipmentState.HANDED_OVER, called_back),
            Shipment.collect,
            Shipment.arrived_at.is_not(None),
        )
        .order_by(Shipment.arrived_at.desc(), Shipment.id)
        .limit(MOST_PARCELS)
    )
    rows = [(shipment, code) for shipment, code in session.execute(statement)]
    stopped = stopped_lots(session, [shipment.id for shipment, _ in rows])
    return Parcels(
        [(shipment, code) for shipment, code in rows if shipment.id not in stopped],
        [(shipment, stopped[shipment.id]) for shipment, _ in rows if shipment.id in stopped],
    )


def is_locked(code: CollectionCode) -> bool:
    """Tell whether a code was tried wrongly too often: then only a name helps."""
    return code.wrong_tries >= rules.CODE_TRIES
