"""One transaction of catalog: its session, the rows that it has loaded, and those to insert.

`handlers.load` loads the rows for all events of a consumer's batch. A use case asks the module that
owns the rows, which loads what is missing.
"""

from datetime import date
from uuid import UUID

from sqlalchemy.orm import Session

from services.catalog.models import Allotment, DailySales, StockLevel
from services.catalog.rules import RecordedSale, ReservedLot
from shared.messaging.batch import Batch, table_of
from shared.runtime.bulk import upsert_rows

#: (device, epoch, lot): there is at most one allotment of each.
AllotmentKey = tuple[UUID, int, UUID]


class CatalogBatch(Batch):
    """One transaction of catalog."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        #: By order: its reserved lots; see `use_cases.stock.reservation_lines`.
        self.reserved: dict[UUID, list[ReservedLot]] = {}
        #: By variant: its levels that can be sold, in picking order; see `use_cases.stock.picking`.
        self.pickable: dict[UUID, list[StockLevel]] = {}
        #: Variants of which only the first lots are loaded.
        self.partly_pickable: set[UUID] = set()
        #: By variant and station (None: no station): the levels from which an order may take.
        self.pickable_at: dict[tuple[UUID, UUID | None], list[StockLevel]] = {}
        #: The open centres; None: not loaded.
        self.open_centres: frozenset[UUID] | None = None
        #: Locked allotments; None: the device was never granted stock of the lot.
        self.allotments: dict[AllotmentKey, Allotment | None] = {}
        #: Station sales, voids and returns by their id; None: there is none.
        self.station_sales: dict[UUID, RecordedSale | None] = {}
        #: By the id of a sale: its voids and returns.
        self.reversals: dict[UUID, list[RecordedSale]] = {}
        #: By site, variant and day: what `flush` adds to the day's sum, in grams or pieces.
        self.unwritten_sales: dict[tuple[UUID, UUID, date], int] = {}

    def _write_rows(self) -> None:
        super()._write_rows()
        sales, self.unwritten_sales = self.unwritten_sales, {}
        rows = [
            {"site_id": site_id, "variant_id": variant_id, "day": day, "quantity": quantity}
            # Sorted: two transactions that add to the same days could otherwise deadlock.
            for (site_id, variant_id, day), quantity in sorted(sales.items(), key=str)
        ]
        upsert_rows(self.session.connection(), table_of(DailySales), rows, add=("quantity",))
