"""Requests and answers of notifications' HTTP APIs."""
