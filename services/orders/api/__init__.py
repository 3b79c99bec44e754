"""Orders' routes: the orders, the payment provider's callback, and an order's trace."""

from services.orders.api import orders, payments, till, tracing

BLUEPRINTS = [orders.blp, payments.blp, till.blp, tracing.blp]
