"""The four services by name: what each worker runs and how each web application is made.

A process imports only the service it runs: eight processes that each import all four would
take twice the memory.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

# For types alone: the parent of a service's web processes knows no Flask and no database.
if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from shared.messaging.service import Service
    from shared.runtime.config import Settings

#: In the order of an order's way; their web processes' ports follow each other in it.
NAMES = ("catalog", "orders", "logistics", "notifications")
#: Port of the start page; each service's own web process, where it has one, comes after it.
PORT = 8000


def service_of(name: str) -> Service:
    """Return `SERVICE` of `services/<name>/worker.py`."""
    return cast("Service", import_module(f"services.{name}.worker").SERVICE)


def application_of(name: str) -> Callable[[Settings], Flask]:
    """Return `create_app` of `services/<name>/app.py`."""
    return cast("Callable[[Settings], Flask]", import_module(f"services.{name}.app").create_app)


def port_of(name: str, page_port: int = PORT) -> int:
    """Return the port of a service's own web process: 8001 for the first, and so on."""
    return page_port + 1 + NAMES.index(name)
