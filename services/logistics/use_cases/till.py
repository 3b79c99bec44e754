"""What a station's till knows of parcels, and what it says it did with them.

A till hands a parcel out while it may be cut off, so its word comes late and may be wrong. It is
never an error here: what cannot be is refused by a published fact, which orders shows the clerk.
"""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from services.logistics import rules
from services.logistics.models import CollectionCode, ProofOfDelivery, Shipment, UnplannedParcel
from services.logistics.rules import ShipmentState
from services.logistics.use_cases.hand_over import collect
from services.logistics.use_cases.recalls import warn
from services.logistics.use_cases.stopped import Stopped, stopped_lots
from shared.events import HandOverRefused
from shared.messaging.batch import Versioned
from shared.messaging.outbox import record
from shared.messaging.rows import locked, remember
from shared.runtime import clock
from shared.runtime.errors import Conflict, FarmgateError, NotFound, Unprocessable, slug_of

#: Parcels told to a till at once; a site has room for some dozens.
MOST_PARCELS = 500


class UnplannedShipment(NotFound):
    """Says that a till gave away a parcel that logistics never planned."""


class AtAnotherSite(Conflict):
    """Says that a till gave away a parcel of another site."""


class CollectedBefore(Conflict):
    """Says that a till gave away a parcel that somebody had already."""


def note_hand_over(
    session: Session,
    shipment_id: UUID,
    *,
    entry_id: UUID,
    site_id: UUID,
    device_code: str,
    code: str | None,
    received_by: str | None,
    collected_fen: int,
    difference_reason: str | None,
) -> None:
    """Note that a till at `site_id` gave a parcel to whoever showed its code, or else a name.

    A parcel of a recalled lot is with its buyer all the same, who must be warned. What cannot be
    (a wrong or locked code, a wrong amount, a parcel that is not there, or gone before) is
    published as `HandOverRefused`; a wrong code counts as a try. The same entry once more changes
    nothing.
    """
    shipment: Shipment | None = locked(session, Shipment.id, shipment_id)
    if shipment is None:
        parcel = _unplanned(session, shipment_id)
        _refuse(session, parcel, shipment_id, entry_id, UnplannedShipment.__name__)
        return
    try:
        if _is_noted(session, shipment, site_id, entry_id):
            return
        outcome: Shipment | FarmgateError = collect(
            session,
            shipment_id,
            code=code,
            # What a person may be called here has an end; a till's word may have none.
            received_by=received_by and received_by[:100],
            collected_fen=collected_fen,
            difference_reason=difference_reason and difference_reason[:200],
            by=f"device/{device_code}",
            entry_id=entry_id,
        )
    except (Conflict, Unprocessable) as error:
        # Nothing was changed: a collection is refused before it begins.
        outcome = error
    if isinstance(outcome, FarmgateError):
        _refuse(session, shipment, shipment_id, entry_id, type(outcome).__name__)
    else:
        warn(session, shipment)


def _is_noted(session: Session, shipment: Shipment, site_id: UUID, entry_id: UUID) -> bool:
    """Tell whether a shipment was collected by this very entry.

    Raises:
        CollectedBefore: it was collected, and not by this entry.
        AtAnotherSite: the till's site is not the shipment's.
    """
    if shipment.state == ShipmentState.COLLECTED:
        proof = session.get_one(ProofOfDelivery, shipment.id)
        if proof.entry_id == entry_id:
            return True
        raise CollectedBefore(f"Shipment {shipment.shipment_ref} was collected before.")
    if shipment.site_id != site_id:
        raise AtAnotherSite(f"Shipment {shipment.shipment_ref} waits at another site.")
    return False


def _unplanned(session: Session, shipment_id: UUID) -> UnplannedParcel:
    parcel: UnplannedParcel | None = locked(session, UnplannedParcel.shipment_id, shipment_id)
    if parcel is None:
        parcel = UnplannedParcel(shipment_id=shipment_id, first_told_at=clock.now(), version=0)
        remember(session, UnplannedParcel.shipment_id, parcel)
    return parcel


def _refuse(
    session: Session, aggregate: Versioned, shipment_id: UUID, entry_id: UUID, error: str
) -> None:
    record(
        session,
        HandOverRefused,
        aggregate,
        shipment_id=shipment_id,
        entry_id=entry_id,
        reason=slug_of(error),
    )


@dataclass(frozen=True)
class Parcels:
    """The parcels at a site, newest first: those to hand out, and those to keep back."""

    waiting: list[tuple[Shipment, CollectionCode]]
    stopped: list[tuple[Shipment, list[Stopped]]]


def parcels_at(session: Session, site_id: UUID) -> Parcels:
    """Return the shipments that wait at a site to be collected, at most `MOST_PARCELS`.

    One that carries a held lot must stay; one with a recalled lot has been called back, and is
    told of until it is noted as returned.
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
