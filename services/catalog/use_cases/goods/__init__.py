"""What is sold, who brings it, and what it costs."""
