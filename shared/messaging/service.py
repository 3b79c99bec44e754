"""What a service says about itself, as data: its name, its handlers, its timers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from shared.events import Fact
from shared.messaging.envelope import Event
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.late import Late

#: A plain function of one event. It touches nothing but its session, and neither commits nor
#: rolls back: its neighbours of the batch share the transaction.
Handler = Callable[[Session, Event[Any]], None]
Subscriptions = Mapping[type[Fact], Handler]
#: Locks and loads in a few statements what the handlers of one type's events will ask for.
#: Only for speed: a handler works without it.
Prepare = Mapping[type[Fact], Callable[[Session, Sequence[Event[Any]]], None]]


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
    prepare: Prepare = field(default_factory=dict)
    timers: Sequence[Timer] = ()
    #: The ways in which its rows can be late, for `farmgate doctor`.
    late: Sequence[Late] = ()
