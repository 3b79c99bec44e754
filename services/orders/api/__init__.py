"""Orders' routes: orders, payments, refunds, stations and their cash, and what operators ask."""

from services.orders.api import cash, orders, payments, refunds, stations, till, trace, verify

BLUEPRINTS = [
    orders.blp,
    payments.blp,
    refunds.blp,
    till.blp,
    stations.blp,
    cash.blp,
    trace.blp,
    verify.blp,
]
