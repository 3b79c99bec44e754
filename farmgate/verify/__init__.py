"""`farmgate verify`: what each service holds of the same things, compared on a running system.

`rules` compare values and know no service's address; `reading` brings the values; `running`
reads, compares, and looks again at what differs until it agrees or the patience is over.
"""
