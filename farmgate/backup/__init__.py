"""`farmgate backup` and `farmgate restore`: the four databases as one set, of one moment.

`snapshots` holds and copies databases, `saving` makes a set of them, `manifest` says what a set
holds and whether it is whole. `restoring` puts a set in the databases' place, `placing` knows
how each kind of database does that, and `replaying` lets go out again what somebody lacks.
"""
