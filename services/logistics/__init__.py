"""Logistics owns sites, routes, shipments, tracking, proof of delivery and delivery addresses."""
