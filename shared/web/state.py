"""What one application holds: settings, database, and who checks tokens and health."""

import threading
from dataclasses import dataclass, field

from flask import current_app

from shared.runtime.auth import Verifier
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.web.health import Health

#: Its name in `app.extensions`.
NAME = "farmgate"


@dataclass
class State:
    """Made once by `create_app`, and shared by all of the application's threads."""

    settings: Settings
    database: Database
    verifier: Verifier
    health: Health
    #: (client, Idempotency-Key) of the requests that are being answered by this process.
    running: set[tuple[str, str]] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)


def state() -> State:
    """Return the state of the application that answers the present request."""
    found = current_app.extensions[NAME]
    assert isinstance(found, State)
    return found


def settings() -> Settings:
    """Return the settings of the service."""
    return state().settings


def database() -> Database:
    """Return the database of the service."""
    return state().database
