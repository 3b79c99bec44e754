"""What the four services call: event contracts, messaging, web base. It imports no service."""
