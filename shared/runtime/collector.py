"""Python's garbage collector in a process that runs for long."""

import gc

#: New objects after which the collector looks for garbage; Python's 700 are one event's.
NEW_OBJECTS = 50_000


def settle() -> None:
    """Exempt all that is loaded now from collections, and collect less often.

    Modules and mapped classes never become garbage, and a full collection would walk them again and
    again. Call it once, when the process is ready to work.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, *gc.get_threshold()[1:])
