"""Catalog's routes, by subject."""

from services.catalog.api import (
    allotments,
    devices,
    enterprises,
    lots,
    products,
    spreadsheets,
    stock,
    till,
    tracing,
    verify,
)

BLUEPRINTS = [
    enterprises.blp,
    products.blp,
    lots.blp,
    stock.blp,
    devices.blp,
    allotments.blp,
    till.blp,
    spreadsheets.blp,
    tracing.blp,
    verify.blp,
]
