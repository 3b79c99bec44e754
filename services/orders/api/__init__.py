"""Orders' routes: orders, payments, stations and their cash, and what operators ask."""

from services.orders.api import cash, orders, payments, stations, till, tracing, verify

BLUEPRINTS = [
    orders.blp,
    payments.blp,
    till.blp,
    stations.blp,
    cash.blp,
    tracing.blp,
    verify.blp,
]
