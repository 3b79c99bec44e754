"""Requests and answers about enterprises, products and prices."""
