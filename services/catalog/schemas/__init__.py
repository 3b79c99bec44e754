"""What catalog's HTTP requests and answers look like; events have contracts of their own."""
