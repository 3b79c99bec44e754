"""Routes for devices, allotments and tills."""
