"""One transaction of orders: its session, and the rows that it has loaded."""

from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from services.orders.models import Order, TillEntry
from services.orders.rules.limits import Holder, Open
from shared.messaging.batch import Batch
from shared.runtime.errors import NotFound


class OrderNotFound(NotFound):
    """Raised when no order has the id asked for, or the caller may not see it."""


class EntryNotFound(NotFound):
    """Raised when no till has uploaded an entry with the id asked for."""


class OrdersBatch(Batch):
    """One transaction of orders; the rows that its methods return are locked until the commit.

    A row that `load` or an earlier call has read costs no statement.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        #: The sites that placements name, as plain rows; None: there is none.
        self.sites: dict[UUID, Any] = {}
        #: By channel and variant: plain rows with the price or None; None: it is not on sale.
        self.offers: dict[tuple[str, UUID], Any] = {}
        #: By partner and external_ref: the order that has them; None: there is none yet.
        self.placed_before: dict[tuple[str, str], Order | None] = {}
        #: The open orders of those whose limits are locked, with the new orders of this batch.
        self.open_orders: dict[Holder, Open] = {}

    def lock_order(self, order_id: UUID) -> Order:
        """Return an order with its lines.

        Raises:
            OrderNotFound: there is none.
        """
        order: Order | None = self.get_for_update(Order.id, order_id)
        if order is None:
            raise OrderNotFound(f"There is no order {order_id}.")
        return order

    def lock_entry(self, entry_id: UUID) -> TillEntry:
        """Return an entry of a till's journal.

        Raises:
            EntryNotFound: there is none.
        """
        entry: TillEntry | None = self.get_for_update(TillEntry.id, entry_id)
        if entry is None:
            raise EntryNotFound(f"No till has told of {entry_id}.")
        return entry
