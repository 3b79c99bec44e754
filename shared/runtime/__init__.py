"""The base of every process: settings, database, keys, logs, metrics, values and their text."""
