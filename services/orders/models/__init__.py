"""Orders' tables."""

from services.orders.models.base import Base
from services.orders.models.cash import CashEntry, Custody, Remittance, Shift
from services.orders.models.orders import (
    Order,
    OrderLine,
    Payment,
    PriceReadModel,
    ProductReadModel,
    Refund,
    SiteReadModel,
    VariantReadModel,
)
from services.orders.models.till import FLAGGED, Journal, TakenBack, TillEntry

__all__ = [
    "FLAGGED",
    "Base",
    "CashEntry",
    "Custody",
    "Journal",
    "Order",
    "OrderLine",
    "Payment",
    "PriceReadModel",
    "ProductReadModel",
    "Refund",
    "Remittance",
    "Shift",
    "SiteReadModel",
    "TakenBack",
    "TillEntry",
    "VariantReadModel",
]
