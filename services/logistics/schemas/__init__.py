"""Requests and answers of logistics' HTTP API. Events have contracts of their own."""
