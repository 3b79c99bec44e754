"""The offline demo: stations sell while they are cut off, and nothing is lost."""
