"""What one application holds: its settings, database, keys and health."""

from dataclasses import dataclass

from flask import current_app

from shared.auth import Verifier
from shared.config import Settings
from shared.database import Database
from shared.health import Health

NAME = "farmgate"


@dataclass
class State:
    """Kept in `app.extensions["farmgate"]`."""

    settings: Settings
    database: Database
    verifier: Verifier
    health: Health


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
