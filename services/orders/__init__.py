"""Orders owns what was ordered and sold over every channel, and the money taken for it."""
