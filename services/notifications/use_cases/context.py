"""Load the data that messages mention, in a few statements, and render their texts.

The sender renders every message, so what it reads are rows and no objects: an object of the ORM
takes several times as long.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from services.notifications import texts
from services.notifications.models import (
    Contact,
    Message,
    OrderReadModel,
    Preference,
    SiteReadModel,
    VariantReadModel,
)
from services.notifications.rules.messages import Preferences, language_of
from services.notifications.use_cases.preferences import preferences_of
from shared.runtime.bulk import among

#: The columns that deciding about a message and rendering it take.
_ORDER = (
    OrderReadModel.order_id,
    OrderReadModel.person,
    OrderReadModel.order_ref,
    OrderReadModel.site_id,
    OrderReadModel.collect,
    OrderReadModel.total_fen,
    OrderReadModel.due_fen,
    OrderReadModel.lines,
    OrderReadModel.settled,
)
_CONTACT = (Contact.key, Contact.phone, Contact.language)
#: A message as an object, or the row that the sender reads.
AnyMessage = Message | Row[Any]


@dataclass(frozen=True)
class MessageContext:
    """The rows that the texts of some messages are rendered from."""

    #: By id: rows of `OrderReadModel`.
    orders: Mapping[UUID, Row[Any]]
    #: By key: rows of `Contact`.
    contacts: Mapping[str, Row[Any]]
    #: By person.
    preference_rows: Mapping[str, Preference]
    variants: Mapping[str, VariantReadModel]
    sites: Mapping[UUID, SiteReadModel]

    def person(self, message: AnyMessage) -> str | None:
        """Return whose message it is; None: the order's buyer is not known yet."""
        order = self.orders.get(message.order_id)
        person: str | None = message.person or (order and order.person)
        return person

    def preferences(self, person: str | None) -> Preferences:
        """Return a person's preferences."""
        return preferences_of(self.preference_rows.get(person or ""))

    def text(self, message: AnyMessage, language: str | None = None) -> texts.Text:
        """Return a message as its person reads it.

        Raises:
            texts.Incomplete: a fact that it mentions is not known yet.
        """
        person = self.person(message)
        contact = self.contacts.get(message.recipient)
        tag = language_of(
            language, self.preferences(person).language, contact.language if contact else None
        )
        return texts.render(message.template, tag, self._facts(message))

    def _facts(self, message: AnyMessage) -> texts.Facts:
        facts, order = message.facts, self.orders.get(message.order_id)
        if order is None:
            raise texts.Incomplete("order")
        site_id = UUID(facts["site_id"]) if "site_id" in facts else order.site_id
        site = self.sites.get(site_id) if site_id else None
        promised_on = facts.get("promised_on")
        lines = facts.get("lines") or (
            [[line["variant_id"], line["quantity"]] for line in order.lines]
            if order.lines is not None
            else None
        )
        return texts.Facts(
            order_ref=order.order_ref,
            lines=self._lines(lines) if lines is not None else None,
            total_fen=order.total_fen,
            due_fen=order.due_fen,
            amount_fen=facts.get("amount_fen"),
            collect=order.collect,
            site=site.names if site else None,
            promised_on=date.fromisoformat(promised_on) if promised_on else None,
            code=facts.get("code"),
            reason=facts.get("reason"),
            lots=facts.get("lots"),
        )

    def _lines(self, lines: Iterable[Sequence[Any]]) -> list[texts.Line] | None:
        found = []
        for variant_id, quantity in lines:
            variant = self.variants.get(variant_id)
            if variant is None:
                return None
            found.append(texts.Line(variant.names, variant.grade, variant.unit, quantity))
        return found


def load_context(session: Session, messages: Sequence[AnyMessage]) -> MessageContext:
    """Load what is needed to render `messages`; as many statements for many as for one."""
    order_ids = {message.order_id for message in messages}
    found = session.execute(select(*_ORDER).where(among(OrderReadModel.order_id, order_ids)))
    orders = {order.order_id: order for order in found}
    keys = {message.recipient for message in messages}
    contacts: Any = session.execute(select(*_CONTACT).where(among(Contact.key, keys)))
    persons = {message.person for message in messages if message.person}
    persons |= {order.person for order in orders.values() if order.person}
    preferences = session.scalars(select(Preference).where(among(Preference.person, persons)))
    variant_ids = {line["variant_id"] for order in orders.values() for line in order.lines or ()}
    variant_ids |= {line[0] for message in messages for line in message.facts.get("lines", ())}
    variants = session.scalars(
        select(VariantReadModel).where(
            among(VariantReadModel.variant_id, [UUID(each) for each in variant_ids])
        )
    )
    site_ids = {order.site_id for order in orders.values() if order.site_id}
    site_ids |= {UUID(m.facts["site_id"]) for m in messages if "site_id" in m.facts}
    sites = session.scalars(select(SiteReadModel).where(among(SiteReadModel.site_id, site_ids)))
    return MessageContext(
        orders=orders,
        contacts={contact.key: contact for contact in contacts},
        preference_rows={preference.person: preference for preference in preferences},
        variants={str(variant.variant_id): variant for variant in variants},
        sites={site.site_id: site for site in sites},
    )
