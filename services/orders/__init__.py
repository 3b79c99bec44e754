"""Orders owns what was ordered over every channel, and the money paid and refunded for it."""
