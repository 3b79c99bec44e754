"""`farmgate verify`: compare the four services' data with each other on a running system.

`rules` compares values, `reader` reads them from the services, and `verifier` reads and compares,
and repeats this for differences until none is left or the time is over.
"""
