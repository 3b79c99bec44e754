"""What a transaction of logistics works on."""

from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.logistics.models import Site, VariantReadModel
from shared.messaging.batch import Batch


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

    def load_sites(self, site_ids: Iterable[UUID]) -> None:
        """Load, in one statement, those of the sites that are not loaded yet."""
        missing = set(site_ids) - self.sites.keys()
        self.sites.update(_rows(self.session, Site, missing))

    def load_variants(self, variant_ids: Iterable[UUID]) -> None:
        """Load, in one statement, those of the variants that are not loaded yet."""
        missing = set(variant_ids) - self.variants.keys()
        self.variants.update(_rows(self.session, VariantReadModel, missing))


def _rows(session: Session, model: type[Any], ids: Collection[UUID]) -> dict[UUID, Any]:
    """Return the rows with these ids, and None for an id without a row."""
    if not ids:
        return {}
    rows = session.scalars(select(model).where(model.id.in_(sorted(ids))))
    return dict.fromkeys(ids) | {row.id: row for row in rows}
