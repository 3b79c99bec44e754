"""Orders' tables."""

from services.orders.models.base import Base
from services.orders.models.cash import CashEntry, Custody, Remittance, Shift
from services.orders.models.orders import (
    Order,
    OrderLine,
    PriceReadModel,
    ProductReadModel,
    SiteReadModel,
    VariantReadModel,
)
from services.orders.models.payments import Dispute, Payment, ProviderRefund, Refund
from services.orders.models.till import FLAGGED, Journal, TakenBack, TillEntry

__all__ = [
    "FLAGGED",
    "Base",
    "CashEntry",
    "Custody",
    "Dispute",
    "Journal",
    "Order",
    "OrderLine",
    "Payment",
    "PriceReadModel",
    "ProductReadModel",
    "ProviderRefund",
    "Refund",
    "Remittance",
    "Shift",
    "SiteReadModel",
    "TakenBack",
    "TillEntry",
    "VariantReadModel",
]
