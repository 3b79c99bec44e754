"""The state of one application: settings, database, token verifier, health."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flask import current_app

from shared.runtime.auth import Verifier
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.web.grouping import Grouping
from shared.web.health import Health

#: The key of the state in `app.extensions`.
NAME = "farmgate"


@dataclass
class State:
    """The state that all threads of an application share; `create_app` makes it."""

    settings: Settings
    database: Database
    verifier: Verifier
    health: Health
    #: (client, Idempotency-Key) of the requests that run in this process.
    running: set[tuple[str, str]] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)
    #: By view: the requests that share transactions.
    groups: dict[Callable[..., Any], Grouping[Any]] = field(default_factory=dict)


def state() -> State:
    """Return the state of the current application."""
    found = current_app.extensions[NAME]
    assert isinstance(found, State)
    return found


def settings() -> Settings:
    """Return the settings of the service."""
    return state().settings


def database() -> Database:
    """Return the database of the service."""
    return state().database
