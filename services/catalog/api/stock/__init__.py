"""Routes for lots, stock and reservations."""
