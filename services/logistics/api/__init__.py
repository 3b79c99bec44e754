"""Logistics' routes: the network, the shipments, and an order's trace."""

from services.logistics.api import network, shipments, tracing

BLUEPRINTS = [network.blp, shipments.blp, tracing.blp]
