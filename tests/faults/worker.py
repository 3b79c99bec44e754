"""A worker as a process of its own: `python -m tests.faults.worker orders|notifications`.

Its handler does what `tests.support.probe` does, and harm at some amounts. `FREEZE_AT` names
a point at which the process stops itself, once, as SIGSTOP from outside would.
"""

import os
import re
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

import shared.messaging.store
import shared.runtime.database
from shared.events import OrderPaid
from shared.messaging import worker
from shared.messaging.batch import Batch
from shared.messaging.envelope import Event
from shared.messaging.service import Service
from shared.messaging.store import Store, Waiting
from shared.runtime.config import Settings
from tests.support import probe

#: Amounts whose handler waits for ever, never lets the interpreter go, or freezes its process.
WAITS, SPINS, FREEZES = 7001, 7002, 7003
_frozen = threading.Event()


def freeze() -> None:
    """Stop this process, the first time only."""
    if not _frozen.is_set():
        _frozen.set()
        # To this thread: another one could take the signal while this one goes on for a moment.
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def on_order_paid(batch: Batch, event: Event[OrderPaid]) -> None:
    amount = event.data.amount_fen
    if amount == WAITS:
        threading.Event().wait()
    if amount == SPINS:
        re.match("(a|aa)+$", "a" * 100 + "b")
    probe.on_order_paid(batch, event)
    if amount == FREEZES and os.environ.get("FREEZE_AT") == "handler":
        freeze()


def freeze_before_marking() -> None:
    mark = Store.mark

    def marking(self: Any, rows: Sequence[Waiting]) -> None:
        if rows:
            freeze()
        mark(self, rows)

    Store.mark = marking  # type: ignore[method-assign]


if __name__ == "__main__":
    # A stopped process is given up sooner than a deployment would.
    silent = int(os.environ.get("SILENT_SECONDS", "4"))
    shared.messaging.store.SILENT_SECONDS = shared.runtime.database.SILENT_SECONDS = silent
    if os.environ.get("FREEZE_AT") == "mark":
        freeze_before_marking()
    name = sys.argv[1]
    service = probe.PUBLISHER if name == "orders" else Service(name, {OrderPaid: on_order_paid})
    worker.run(service, Settings.from_environment(name))
