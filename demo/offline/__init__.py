"""The offline demo: stations that sell while they are cut off, and proof that nothing was lost."""
