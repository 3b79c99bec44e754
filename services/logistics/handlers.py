"""What logistics does with the facts of the other services."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from services.logistics.models import DeliveryAddress, Shipment, Site, Variant
from services.logistics.use_cases import contacts, goods, planning, recalls, stopped, till
from services.logistics.use_cases.known import read
from shared.events import (
    ContactGiven,
    DeviceKeyGiven,
    LotHeld,
    LotRecalled,
    LotReleased,
    OrderCancelled,
    OrderConfirmed,
    OrderRejected,
    ParcelHandedOver,
    ProductListed,
)
from shared.messaging.envelope import Envelope
from shared.messaging.rows import lock_rows
from shared.messaging.service import Prepare, Subscriptions
from shared.runtime import devices


def on_product_listed(session: Session, event: Envelope) -> None:
    """Remember how the product's variants are stored."""
    goods.note_storage(
        session, event.data["product_id"], event.data["variants"], listed_in=event.sequence
    )


def prepare_product_listed(session: Session, events: Sequence[Envelope]) -> None:
    """Lock the copies of all the variants listed."""
    lock_rows(
        session,
        Variant.id,
        (variant["variant_id"] for event in events for variant in event.data["variants"]),
    )


def on_contact_given(session: Session, event: Envelope) -> None:
    """Keep where to deliver, until it is no longer needed."""
    contacts.keep_contact(
        session,
        event.data["order_id"],
        name=event.data["name"],
        phone=event.data["phone"],
        address=event.data["address"],
        language=event.data["language"],
    )


def prepare_contacts(session: Session, events: Sequence[Envelope]) -> None:
    """Lock the contacts of all the orders."""
    lock_rows(session, DeliveryAddress.order_id, (event.data["order_id"] for event in events))


def on_order_confirmed(session: Session, event: Envelope) -> None:
    """Plan the order's shipment."""
    planning.plan_shipment(
        session,
        order_id=event.data["order_id"],
        order_ref=event.data["order_ref"],
        site_id=event.data["site_id"],
        collect=event.data["collect"],
        lines=event.data["lines"],
        due_fen=event.data["due_fen"],
    )


def prepare_order_confirmed(session: Session, events: Sequence[Envelope]) -> None:
    """Read the sites and variants of all the orders; lock what they may have here already."""
    read(session, Site.id, (event.data["site_id"] for event in events))
    read(
        session,
        Variant.id,
        (line["variant_id"] for event in events for line in event.data["lines"]),
    )
    lock_rows(session, Shipment.order_id, (event.data["order_id"] for event in events))
    stopped.lock_lots(
        session,
        [lot["lot_id"] for event in events for line in event.data["lines"] for lot in line["lots"]],
    )
    collected = (event.data["order_id"] for event in events if event.data["collect"])
    lock_rows(session, DeliveryAddress.order_id, collected)


def on_order_cancelled(session: Session, event: Envelope) -> None:
    """Cancel the order's shipment, or call it back."""
    planning.stop_shipment(session, event.data["order_id"])


def prepare_ended(session: Session, events: Sequence[Envelope]) -> None:
    """Lock the shipments and contacts of all the orders."""
    lock_rows(session, Shipment.order_id, (event.data["order_id"] for event in events))
    prepare_contacts(session, events)


def on_order_rejected(session: Session, event: Envelope) -> None:
    """Erase the contact of an order that will never be delivered; cancel what was planned of it.

    Only one that had asked once more, since its lot was recalled, has a shipment.
    """
    planning.stop_shipment(session, event.data["order_id"])


def on_lot_held(session: Session, event: Envelope) -> None:
    """Stop all shipments that carry the lot."""
    recalls.hold_lot(session, event.data["lot_id"])


def on_lot_released(session: Session, event: Envelope) -> None:
    """Let shipments go on that the lot has stopped."""
    recalls.release_lot(session, event.data["lot_id"])


def on_lot_recalled(session: Session, event: Envelope) -> None:
    """Stop or call back all shipments that carry the lot."""
    recalls.recall_lot(session, event.data["lot_id"])


def prepare_lots(session: Session, events: Sequence[Envelope]) -> None:
    """Lock what is known of all the lots."""
    stopped.lock_lots(session, [event.data["lot_id"] for event in events])


def on_device_key_given(session: Session, event: Envelope) -> None:
    """Let a station's till ask for its parcels, or no longer."""
    devices.note_device_key(session, event.data, event.sequence)


def on_parcel_handed_over(session: Session, event: Envelope) -> None:
    """Note that a till gave a parcel away, or say why that cannot be."""
    till.note_hand_over(
        session,
        event.data["shipment_id"],
        entry_id=event.data["entry_id"],
        site_id=event.data["site_id"],
        device_code=event.data["device_code"],
        code=event.data["code"],
        received_by=event.data["received_by"],
        collected_fen=event.data["collected_fen"],
        difference_reason=event.data["difference_reason"],
    )


def prepare_parcel_handed_over(session: Session, events: Sequence[Envelope]) -> None:
    """Lock the shipments of all the parcels."""
    lock_rows(session, Shipment.id, (event.data["shipment_id"] for event in events))


SUBSCRIPTIONS: Subscriptions = {
    ProductListed: on_product_listed,
    ContactGiven: on_contact_given,
    OrderConfirmed: on_order_confirmed,
    OrderCancelled: on_order_cancelled,
    OrderRejected: on_order_rejected,
    LotHeld: on_lot_held,
    LotReleased: on_lot_released,
    LotRecalled: on_lot_recalled,
    DeviceKeyGiven: on_device_key_given,
    ParcelHandedOver: on_parcel_handed_over,
}

PREPARE: Prepare = {
    ProductListed: prepare_product_listed,
    ContactGiven: prepare_contacts,
    OrderConfirmed: prepare_order_confirmed,
    OrderCancelled: prepare_ended,
    OrderRejected: prepare_ended,
    LotHeld: prepare_lots,
    LotReleased: prepare_lots,
    LotRecalled: prepare_lots,
    ParcelHandedOver: prepare_parcel_handed_over,
}
