"""The four services. None imports another: they know each other only by events."""
