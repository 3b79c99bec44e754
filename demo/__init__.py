"""The demo: places varied orders in the running system, and shows that nothing is lost."""
