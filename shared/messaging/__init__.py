"""How events travel: recorded, published, taken in, parked and repaired; timers and the worker."""
