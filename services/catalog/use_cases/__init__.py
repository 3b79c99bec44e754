"""What can be done in catalog, one file per subject; each function takes a session."""
