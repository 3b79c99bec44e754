"""The demo: varied orders through the running system, and proof that nothing was lost."""
