"""The `farmgate` command and the embedded run: the only code that knows all four services."""
