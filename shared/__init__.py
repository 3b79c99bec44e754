"""The library of the four services; it imports no service.

`events` and `runtime` import no other folder, `messaging` imports both, `web` imports all three.
"""
