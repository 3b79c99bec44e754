"""Catalog's routes, by subject."""

from services.catalog.api import enterprises, lots, products, spreadsheets, stock, tracing

BLUEPRINTS = [
    enterprises.blp,
    products.blp,
    lots.blp,
    stock.blp,
    spreadsheets.blp,
    tracing.blp,
]
