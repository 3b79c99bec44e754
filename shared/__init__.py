"""What the four services call; it imports no service.

`events` and `runtime` know nothing of each other, `messaging` stands on both, `web` on all three.
"""
