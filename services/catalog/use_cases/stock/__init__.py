"""Locations, lots, stock levels with their ledger, and reservations of orders."""
