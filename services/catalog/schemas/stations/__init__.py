"""Requests and answers about devices, allotments and tills."""
