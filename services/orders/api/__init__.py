"""Orders' routes: orders, payments, stations and their cash, and what operators ask."""

from services.orders.api import cash, orders, payments, stations, till, trace, verify

BLUEPRINTS = [
    orders.blp,
    payments.blp,
    till.blp,
    stations.blp,
    cash.blp,
    trace.blp,
    verify.blp,
]
