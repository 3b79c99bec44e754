"""What logistics can do: each function takes a session and never commits."""
