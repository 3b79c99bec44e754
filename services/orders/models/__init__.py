"""Orders' tables."""

from services.orders.models.base import Base
from services.orders.models.cash import CashEntry, Custody, Remittance, Shift
from services.orders.models.orders import (
    Order,
    OrderLine,
    Payment,
    PriceCopy,
    ProductCopy,
    Refund,
    SiteCopy,
    VariantCopy,
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
    "PriceCopy",
    "ProductCopy",
    "Refund",
    "Remittance",
    "Shift",
    "SiteCopy",
    "TakenBack",
    "TillEntry",
    "VariantCopy",
]
