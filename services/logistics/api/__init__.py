"""Logistics' routes: the network, the shipments, the tills' parcels, and what operators ask."""

from services.logistics.api import network, shipments, spreadsheets, till, tracing, verify

BLUEPRINTS = [network.blp, shipments.blp, spreadsheets.blp, till.blp, tracing.blp, verify.blp]
