"""Notifications owns how people can be reached, what they wish, and what they were told."""
