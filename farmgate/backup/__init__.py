"""`farmgate backup` and `farmgate restore`: a consistent backup set of the four databases.

`creating` writes a set from `snapshots` of the databases; `manifest` describes and checks a set.
`restoring` restores a set, `replacing` replaces one SQLite or PostgreSQL database, and
`republishing` marks events that some service lacks. `programs` runs PostgreSQL's client programs.
"""
