"""The four services by name, with their workers, applications and ports.

A process imports only the service that it runs; to import all four would double its memory.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

# For types only: gunicorn's parent process imports neither Flask nor SQLAlchemy.
if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from shared.messaging.service import Service
    from shared.runtime.config import Settings

#: The order of their web processes' ports.
NAMES = ("catalog", "orders", "logistics", "notifications")
#: APIs with names that partners understand, by the service that has each.
ALSO = {"events": "notifications"}
#: Port of the start page; the ports of the services' web processes follow.
PORT = 8000


def service_of(name: str) -> Service:
    """Return `SERVICE` of `services/<name>/worker.py`."""
    return cast("Service", import_module(f"services.{name}.worker").SERVICE)


def application_of(name: str) -> Callable[[Settings], Flask]:
    """Return `create_app` of `services/<name>/app.py`."""
    return cast("Callable[[Settings], Flask]", import_module(f"services.{name}.app").create_app)


def port_of(name: str, page_port: int = PORT) -> int:
    """Return the port of a service's web process: 8001 for the first service by default."""
    return page_port + 1 + NAMES.index(name)
