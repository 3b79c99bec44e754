"""Devices of stations, what each may sell while cut off, and what it sold."""
