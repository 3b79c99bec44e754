"""Facts with the contacts of people and the names of goods and sites."""

from services.notifications import use_cases
from services.notifications.batch import NotificationsBatch
from shared.events import ContactGiven, EnterpriseContactGiven, ProductListed, SiteOpened
from shared.messaging.envelope import Event


def on_contact_given(batch: NotificationsBatch, event: Event[ContactGiven]) -> None:
    """Keep how the buyer of one order can be reached."""
    use_cases.keep_contact(
        batch,
        use_cases.order_key(event.data.order_id),
        phone=event.data.phone,
        language=event.data.language,
        given_at=event.time,
    )


def on_enterprise_contact_given(
    batch: NotificationsBatch, event: Event[EnterpriseContactGiven]
) -> None:
    """Keep how an enterprise can be reached."""
    use_cases.keep_contact(
        batch,
        use_cases.enterprise_key(event.data.enterprise_id),
        phone=event.data.phone,
        language=event.data.language,
        given_at=event.time,
    )


def on_product_listed(batch: NotificationsBatch, event: Event[ProductListed]) -> None:
    """Store the names of the variants."""
    use_cases.copy_variants(batch, event.data)


def on_site_opened(batch: NotificationsBatch, event: Event[SiteOpened]) -> None:
    """Store the name of the site."""
    use_cases.copy_site(batch, event.data)
