"""What can be done with orders and their money; each takes a session and never commits."""
