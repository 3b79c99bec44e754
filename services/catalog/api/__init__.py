"""Catalog's routes, by subject."""

from services.catalog.api import spreadsheets, trace, verify
from services.catalog.api.goods import enterprises, products
from services.catalog.api.stations import allotments, devices, till
from services.catalog.api.stock import availability, levels, lots

BLUEPRINTS = [
    enterprises.blp,
    products.blp,
    lots.blp,
    levels.blp,
    availability.blp,
    devices.blp,
    allotments.blp,
    till.blp,
    spreadsheets.blp,
    trace.blp,
    verify.blp,
]
