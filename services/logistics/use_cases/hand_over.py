"""A shipment reaches its buyer: brought to the address, or collected with a code or a name."""

from uuid import UUID

from sqlalchemy.orm import Session

from services.logistics import rules
from services.logistics.models import CollectionCode, ProofOfDelivery, Shipment
from services.logistics.rules import ShipmentState
from services.logistics.use_cases.stopped import check_lots
from services.logistics.use_cases.travelling import advance, drop_code, lock_shipment
from shared.events import ShipmentCollected, ShipmentDelivered
from shared.messaging.outbox import record
from shared.runtime import clock
from shared.runtime.errors import Conflict, Unprocessable


class WrongHandOver(Conflict):
    """Raised when a shipment to be collected is delivered, or the other way round."""


class NotArrived(Conflict):
    """Raised when a shipment is collected before it reached its site."""


class WrongCode(Unprocessable):
    """Says that a collection code is not the one issued, and how many tries are left."""


class CodeLocked(Conflict):
    """Raised when a collection code was tried wrongly too often to be trusted any more."""


class NoProof(Unprocessable):
    """Raised when neither a code nor a name shows who took a shipment."""


def deliver(
    session: Session,
    shipment_id: UUID,
    *,
    received_by: str,
    collected_fen: int,
    difference_reason: str | None,
    by: str,
) -> Shipment:
    """Note that a shipment was brought to its buyer; `by` is the account that did.

    Raises:
        ShipmentNotFound, WrongShipmentState
        WrongHandOver: its buyer wants to collect it.
        WrongAmount: the money taken is not the money due, without a reason.
        LotStopped: one of its lots is held or recalled.
    """
    shipment = lock_shipment(session, shipment_id)
    if shipment.collect:
        raise WrongHandOver(
            f"Shipment {shipment.shipment_ref} is collected at its site; note a collection."
        )
    if shipment.state == ShipmentState.DELIVERED:
        return shipment
    rules.check_transition(shipment.shipment_ref, shipment.state, ShipmentState.DELIVERED)
    check_lots(session, shipment)
    rules.check_collected(shipment.due_fen, collected_fen, difference_reason)
    advance(shipment, ShipmentState.DELIVERED)
    _prove(session, shipment, "name", received_by, collected_fen, difference_reason, by)
    record(
        session,
        ShipmentDelivered,
        shipment,
        shipment_id=shipment.id,
        order_id=shipment.order_id,
        collected_fen=collected_fen,
    )
    return shipment


def collect(
    session: Session,
    shipment_id: UUID,
    *,
    code: str | None,
    received_by: str | None,
    collected_fen: int,
    difference_reason: str | None,
    by: str,
    entry_id: UUID | None = None,
) -> Shipment | WrongCode:
    """Note that a buyer took a shipment at its site, shown by the code or else by a name.

    A wrong code is returned, not raised: the try counts, so it has to be committed. `entry_id`
    names the entry of a till's journal that says so: it has happened, so a lot that was held or
    recalled before the till heard of it does not stop it any more.

    Raises:
        ShipmentNotFound, WrongShipmentState
        WrongHandOver: it is to be brought to an address.
        NotArrived: it has not reached its site.
        NoProof: neither a code nor a name is given.
        CodeLocked: the code was tried wrongly `rules.CODE_TRIES` times.
        WrongAmount: the money taken is not the money due, without a reason.
        LotStopped: one of its lots is held or recalled.
    """
    shipment = lock_shipment(session, shipment_id)
    if not shipment.collect:
        raise WrongHandOver(
            f"Shipment {shipment.shipment_ref} is brought to an address; note a delivery."
        )
    if shipment.state == ShipmentState.COLLECTED:
        return shipment
    if entry_id is None:
        check_lots(session, shipment)
    called_back = shipment.state == ShipmentState.REFUSED and shipment.refusal == rules.LOT_RECALLED
    if not (entry_id is not None and called_back):
        rules.check_transition(shipment.shipment_ref, shipment.state, ShipmentState.COLLECTED)
    if shipment.arrived_at is None:
        raise NotArrived(
            f"Shipment {shipment.shipment_ref} has not reached its site; note its arrival first."
        )
    if code is None and received_by is None:
        raise NoProof("Give the code, or the name of the person who takes the shipment.")
    rules.check_collected(shipment.due_fen, collected_fen, difference_reason)
    if code is not None:
        wrong = _try_code(session, shipment, code)
        if wrong is not None:
            return wrong
    if called_back:
        # The buyer had it when it was called back: there was nothing to come back.
        shipment.state, shipment.refusal = ShipmentState.HANDED_OVER, None
        shipment.refused_at = None
    advance(shipment, ShipmentState.COLLECTED)
    kind = "name" if code is None else "code"
    _prove(session, shipment, kind, received_by, collected_fen, difference_reason, by, entry_id)
    drop_code(session, shipment)
    record(
        session,
        ShipmentCollected,
        shipment,
        shipment_id=shipment.id,
        order_id=shipment.order_id,
        collected_fen=collected_fen,
        proof=kind,
    )
    return shipment


def _try_code(session: Session, shipment: Shipment, code: str) -> WrongCode | None:
    # Whoever holds the shipment's lock is the only one to count tries.
    issued = session.get_one(CollectionCode, shipment.id, populate_existing=True)
    if issued.wrong_tries >= rules.CODE_TRIES:
        raise CodeLocked(
            f"The code of shipment {shipment.shipment_ref} was tried wrongly too often; "
            "check who it is and hand over by name, with received_by."
        )
    if rules.code_matches(code, issued.salt, issued.digest):
        return None
    issued.wrong_tries += 1
    left = rules.CODE_TRIES - issued.wrong_tries
    return WrongCode(
        f"That is not the code of shipment {shipment.shipment_ref}; {left} tries are left.",
        tries_left=left,
    )


def _prove(
    session: Session,
    shipment: Shipment,
    kind: str,
    received_by: str | None,
    collected_fen: int,
    difference_reason: str | None,
    by: str,
    entry_id: UUID | None = None,
) -> None:
    shipment.collected_fen = collected_fen
    session.add(
        ProofOfDelivery(
            shipment_id=shipment.id,
            kind=kind,
            received_by=received_by,
            collected_fen=collected_fen,
            difference_reason=difference_reason,
            handed_over_by=by,
            entry_id=entry_id,
            recorded_at=clock.now(),
        )
    )
