"""Catalog's tables. Every quantity is an integer in the variant's unit, every price integer fen."""

from services.catalog.models.base import Base
from services.catalog.models.goods import Enterprise, Membership, Price, Product, Variant
from services.catalog.models.stations import (
    Allotment,
    AllotmentCount,
    AllotmentReturn,
    DailySales,
    Device,
    DeviceEpoch,
    Enrolment,
    Overdraft,
    StandingRule,
    StationSale,
)
from services.catalog.models.stock import (
    Availability,
    Location,
    Lot,
    Reservation,
    ReservationLine,
    StockLevel,
    StockMovement,
)

__all__ = [
    "Allotment",
    "AllotmentCount",
    "AllotmentReturn",
    "Availability",
    "Base",
    "DailySales",
    "Device",
    "DeviceEpoch",
    "Enrolment",
    "Enterprise",
    "Location",
    "Lot",
    "Membership",
    "Overdraft",
    "Price",
    "Product",
    "Reservation",
    "ReservationLine",
    "StandingRule",
    "StationSale",
    "StockLevel",
    "StockMovement",
    "Variant",
]
