"""What a service says about itself, as data: its name, its handlers, its timers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.events import Fact
from shared.messaging.batch import Batch
from shared.messaging.envelope import Event
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.late import Late

#: A plain function of a batch and one event. It touches nothing but the batch, and neither commits
#: nor rolls back: its neighbours share the transaction.
Handler = Callable[[Any, Event[Any]], None]
Subscriptions = Mapping[type[Fact], Handler]
#: Loads and locks in a few statements what the handlers will ask for, given all events of a batch
#: that will be handled. Only for speed: a handler works without it.
Load = Callable[[Any, Sequence[Event[Any]]], None]


@dataclass(frozen=True)
class Timer:
    """Work done by the clock: `run` opens its own short transactions and returns what it did.

    It is called every `seconds` by one worker of the service at a time, and again at once while
    it returns True (there is more). It must be safe to run twice and to be killed anywhere.
    """

    name: str
    seconds: float
    run: Callable[[Database, Settings], Any]


@dataclass(frozen=True)
class Service:
    """One service: `web` and `worker` processes are started from this value."""

    name: str
    subscriptions: Subscriptions
    #: What its transactions work on; handlers and `load` get one.
    batch: type[Batch] = Batch
    load: Load | None = None
    timers: Sequence[Timer] = ()
    #: The ways in which its rows can be late, for `farmgate doctor`.
    late: Sequence[Late] = ()
