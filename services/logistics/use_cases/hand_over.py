"""The buyer gets a shipment: delivered to the address, or collected with a code or a name."""

from typing import Literal
from uuid import UUID

from services.logistics import rules
from services.logistics.batch import LogisticsBatch
from services.logistics.models import CollectionCode, ProofOfDelivery, Shipment
from services.logistics.rules import ShipmentState
from services.logistics.use_cases.stopped import check_lots
from services.logistics.use_cases.travelling import delete_code, lock_shipment, transition
from shared.events import ShipmentCollected, ShipmentDelivered
from shared.runtime import clock
from shared.runtime.errors import Conflict, Unprocessable


class WrongHandOver(Conflict):
    """Raised when a shipment to be collected is delivered, or the other way round."""


class NotArrived(Conflict):
    """Raised when a shipment is collected before it reached its site."""


class WrongCode(Unprocessable):
    """A refusal: the code is not the one issued; names the number of tries left."""


class CodeLocked(Conflict):
    """Raised when a collection code was tried wrongly too often to be trusted any more."""


class NoProof(Unprocessable):
    """Raised when neither a code nor a name proves who took a shipment."""


def deliver(
    batch: LogisticsBatch,
    shipment_id: UUID,
    *,
    received_by: str,
    collected_fen: int,
    difference_reason: str | None,
    by: str,
) -> Shipment:
    """Record that a shipment was delivered to its buyer by the account `by`.

    Raises:
        ShipmentNotFound, WrongShipmentState
        WrongHandOver: its buyer wants to collect it.
        WrongAmount: the money taken is not the money due, without a reason.
        LotStopped: one of its lots is held or recalled.
    """
    shipment = lock_shipment(batch, shipment_id)
    if shipment.collect:
        raise WrongHandOver(
            f"Shipment {shipment.shipment_ref} is collected at its site; note a collection."
        )
    if shipment.state == ShipmentState.DELIVERED:
        return shipment
    rules.check_transition(shipment.shipment_ref, shipment.state, ShipmentState.DELIVERED)
    check_lots(batch.session, shipment)
    rules.check_collected(shipment.due_fen, collected_fen, difference_reason)
    transition(shipment, ShipmentState.DELIVERED)
    _add_proof(batch, shipment, "name", received_by, collected_fen, difference_reason, by)
    batch.record(
        shipment,
        ShipmentDelivered(
            shipment_id=shipment.id, order_id=shipment.order_id, collected_fen=collected_fen
        ),
    )
    return shipment


def collect(
    batch: LogisticsBatch,
    shipment_id: UUID,
    *,
    code: str | None,
    received_by: str | None,
    collected_fen: int,
    difference_reason: str | None,
    by: str,
    entry_id: UUID | None = None,
) -> Shipment | WrongCode:
    """Record that a buyer collected a shipment at its site, with the code or a name as proof.

    A wrong code is returned, not raised: the try counts, so it has to be committed. `entry_id` is
    that of the entry in a till's journal, if a till reports the collection. What a till reports
    has happened: a lot that was held or recalled in the meantime cannot stop it.

    Raises:
        ShipmentNotFound, WrongShipmentState
        WrongHandOver: it is to be delivered to an address.
        NotArrived: it has not reached its site.
        NoProof: neither a code nor a name is given.
        CodeLocked: the code was tried wrongly `rules.CODE_TRIES` times.
        WrongAmount: the money taken is not the money due, without a reason.
        LotStopped: one of its lots is held or recalled.
    """
    shipment = lock_shipment(batch, shipment_id)
    if not shipment.collect:
        raise WrongHandOver(
            f"Shipment {shipment.shipment_ref} is brought to an address; note a delivery."
        )
    if shipment.state == ShipmentState.COLLECTED:
        return shipment
    if entry_id is None:
        check_lots(batch.session, shipment)
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
        wrong = _try_code(batch, shipment, code)
        if wrong is not None:
            return wrong
    if called_back:
        # The buyer had collected it before it was called back, so nothing comes back.
        shipment.state, shipment.refusal = ShipmentState.HANDED_OVER, None
        shipment.refused_at = None
    transition(shipment, ShipmentState.COLLECTED)
    kind: Literal["code", "name"] = "name" if code is None else "code"
    _add_proof(batch, shipment, kind, received_by, collected_fen, difference_reason, by, entry_id)
    delete_code(batch, shipment)
    batch.record(
        shipment,
        ShipmentCollected(
            shipment_id=shipment.id,
            order_id=shipment.order_id,
            collected_fen=collected_fen,
            proof=kind,
        ),
    )
    return shipment


def _try_code(batch: LogisticsBatch, shipment: Shipment, code: str) -> WrongCode | None:
    # The shipment's lock is held, so no other transaction counts tries.
    issued = batch.session.get_one(CollectionCode, shipment.id, populate_existing=True)
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


def _add_proof(
    batch: LogisticsBatch,
    shipment: Shipment,
    kind: Literal["code", "name"],
    received_by: str | None,
    collected_fen: int,
    difference_reason: str | None,
    by: str,
    entry_id: UUID | None = None,
) -> None:
    shipment.collected_fen = collected_fen
    batch.session.add(
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
