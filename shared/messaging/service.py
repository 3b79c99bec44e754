"""The description of a service as data: its name, its handlers, its timers."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.events import Fact
from shared.messaging.batch import Batch
from shared.messaging.envelope import Event
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.late import Late
from shared.runtime.supervision import Stopping

#: A plain function of a batch and one event. It uses only the batch, and neither commits nor rolls
#: back: the other events of the batch share the transaction.
Handler = Callable[[Any, Event[Any]], None]
Subscriptions = Mapping[type[Fact], Handler]
#: Loads and locks, in a few statements, the rows that the handlers of these events will need. Only
#: for speed: a handler works without it.
Load = Callable[[Any, Sequence[Event[Any]]], None]


@dataclass(frozen=True)
class Timer:
    """Periodic work; `run` opens its own short transactions.

    One worker of the service at a time calls `run` every `seconds`, and again at once while it
    returns True (more work is left). `run` must be safe to repeat and to be killed at any point.
    """

    name: str
    seconds: float
    run: Callable[[Database, Settings], Any]


@dataclass(frozen=True)
class Loop:
    """Work without an end, in a supervised thread of each worker of the service.

    `run` returns soon after the process must stop; after an error it is called again. It must be
    safe to kill at any point.
    """

    name: str
    run: Callable[[Database, Settings, Stopping], None]


@dataclass(frozen=True)
class Service:
    """One service; its worker process and the embedded run are started from this value."""

    name: str
    subscriptions: Subscriptions
    #: The facts for whose handling a client waits: the consumer takes them at once.
    awaited: Collection[type[Fact]] = ()
    #: The class of the batches that handlers and `load` get.
    batch: type[Batch] = Batch
    load: Load | None = None
    timers: Sequence[Timer] = ()
    loops: Sequence[Loop] = ()
    #: What to do, given a batch and the name, when an integrator's queue has lost its messages;
    #: None: this service feeds no such queues.
    on_queue_lost: Callable[[Any, str], None] | None = None
    #: The kinds of late rows, for `farmgate doctor`.
    late: Sequence[Late] = ()
    #: Raises `Misconfigured` for a setting of the service's own that its timers cannot use.
    check: Callable[[Settings], object] | None = None

    @property
    def feeds_queues(self) -> bool:
        """Whether it feeds integrators' queues."""
        return self.on_queue_lost is not None
