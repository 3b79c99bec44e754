"""Rules for lots, the ledger and reservations."""
