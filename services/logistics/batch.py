"""What a transaction of logistics works on."""

from collections.abc import Collection, Iterable
from datetime import date
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from services.logistics.models import DeliveryAddress, Site, VariantReadModel
from shared.messaging.batch import Batch, table_of
from shared.runtime.bulk import among, upsert_rows


class PlannedWay(NamedTuple):
    """The day on which goods confirmed now reach a site."""

    promised_on: date
    #: True: the goods must stay cold, and no way to the site is cold throughout.
    cold_gap: bool


class LogisticsBatch(Batch):
    """One transaction of logistics, with the sites and variants that it has read.

    Both are read often and changed rarely, so they are not locked: the worker plans shipments
    while clerks report arrivals at the same sites, and neither must wait for the other.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        #: By id; None: there is no such row.
        self.sites: dict[UUID, Site | None] = {}
        self.variants: dict[UUID, VariantReadModel | None] = {}
        #: By site, and whether the goods must stay cold.
        self.planned_ways: dict[tuple[UUID, bool], PlannedWay] = {}
        #: By order: contacts to insert or replace at the end, as rows of `DeliveryAddress`.
        self.contacts: dict[UUID, dict[str, Any]] = {}
        #: Orders whose contact is erased at the end, and those that lose the address in it.
        self.erased_contacts: set[UUID] = set()
        self.erased_addresses: set[UUID] = set()

    def load_sites(self, site_ids: Iterable[UUID]) -> None:
        """Load, in one statement, those of the sites that are not loaded yet."""
        missing = {each for each in site_ids if each not in self.sites}
        self.sites.update(_rows(self.session, Site, missing))

    def load_variants(self, variant_ids: Iterable[UUID]) -> None:
        """Load, in one statement, those of the variants that are not loaded yet."""
        missing = {each for each in variant_ids if each not in self.variants}
        self.variants.update(_rows(self.session, VariantReadModel, missing))

    def _write_rows(self) -> None:
        super()._write_rows()
        table, connection = table_of(DeliveryAddress), self.session.connection()
        contacts, self.contacts = self.contacts, {}
        # In the order of their keys: two transactions that need the same rows cannot deadlock.
        upsert_rows(connection, table, [contacts[key] for key in sorted(contacts)])
        without_address, self.erased_addresses = self.erased_addresses, set()
        if without_address:
            connection.execute(
                update(table)
                .where(among(table.c.order_id, without_address))
                .where(table.c.address.is_not(None))
                .values(address=None)
            )
        erased, self.erased_contacts = self.erased_contacts, set()
        if erased:
            connection.execute(delete(table).where(among(table.c.order_id, erased)))


def _rows(session: Session, model: type[Any], ids: Collection[UUID]) -> dict[UUID, Any]:
    """Return the rows with these ids, and None for an id without a row."""
    if not ids:
        return {}
    rows = session.scalars(select(model).where(among(model.id, ids)))
    return dict.fromkeys(ids) | {row.id: row for row in rows}
