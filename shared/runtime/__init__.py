"""What every process stands on: settings, database, keys, logs, metrics, values and their text."""
