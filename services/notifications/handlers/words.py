"""Facts that say how people can be reached, and what goods and sites are called."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from services.notifications import use_cases
from services.notifications.models import Contact, SiteCopy, VariantCopy
from shared.messaging.envelope import Envelope
from shared.messaging.rows import lock_rows


def on_contact_given(session: Session, event: Envelope) -> None:
    """Keep how the buyer of one order can be reached."""
    use_cases.keep_contact(
        session,
        use_cases.order_key(event.data["order_id"]),
        phone=event.data["phone"],
        language=event.data["language"],
        given_at=event.time,
    )


def on_enterprise_contact_given(session: Session, event: Envelope) -> None:
    """Keep how an enterprise can be reached."""
    use_cases.keep_contact(
        session,
        use_cases.enterprise_key(event.data["enterprise_id"]),
        phone=event.data["phone"],
        language=event.data["language"],
        given_at=event.time,
    )


def on_product_listed(session: Session, event: Envelope) -> None:
    """Keep what the variants are called."""
    use_cases.keep_product(session, event.data["names"], event.data["variants"])


def on_site_opened(session: Session, event: Envelope) -> None:
    """Keep what the site is called."""
    use_cases.keep_site(session, event.data["site_id"], event.data["names"])


def prepare_contacts(session: Session, events: Sequence[Envelope]) -> None:
    """Lock the contacts."""
    keys = [
        use_cases.order_key(event.data["order_id"])
        if "order_id" in event.data
        else use_cases.enterprise_key(event.data["enterprise_id"])
        for event in events
    ]
    lock_rows(session, Contact.key, keys)


def prepare_products(session: Session, events: Sequence[Envelope]) -> None:
    """Lock the variants."""
    variants = (variant for event in events for variant in event.data["variants"])
    lock_rows(session, VariantCopy.variant_id, [variant["variant_id"] for variant in variants])


def prepare_sites(session: Session, events: Sequence[Envelope]) -> None:
    """Lock the sites."""
    lock_rows(session, SiteCopy.site_id, [event.data["site_id"] for event in events])
