"""Logistics' routes: the network, the shipments, the tills' parcels, and what operators ask."""

from services.logistics.api import network, shipments, spreadsheets, till, trace, verify

BLUEPRINTS = [network.blp, shipments.blp, spreadsheets.blp, till.blp, trace.blp, verify.blp]
