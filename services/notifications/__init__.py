"""Notifications owns how people can be reached, their preferences, and their messages."""
