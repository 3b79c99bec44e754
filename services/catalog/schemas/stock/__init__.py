"""Requests and answers about lots, stock and reservations."""
