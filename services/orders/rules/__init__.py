"""What orders may do, as values: where an order stands, what it costs, how a phone is shown."""
