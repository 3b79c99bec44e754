"""The four services by name: what each worker runs and how each web application is made.

A process imports only the service it runs: eight processes that each import all four would
take twice the memory.
"""

from collections.abc import Callable
from importlib import import_module
from typing import cast

from flask import Flask

from shared.config import Settings
from shared.service import Service

#: In the order of an order's way; the position is also the port's, see `port_of`.
NAMES = ("catalog", "orders", "logistics", "notifications")
#: Port of the first service where each has a web process of its own.
FIRST_PORT = 8001


def service_of(name: str) -> Service:
    """Return `SERVICE` of `services/<name>/worker.py`."""
    return cast(Service, import_module(f"services.{name}.worker").SERVICE)


def application_of(name: str) -> Callable[[Settings], Flask]:
    """Return `create_app` of `services/<name>/app.py`."""
    return cast(Callable[[Settings], Flask], import_module(f"services.{name}.app").create_app)


def port_of(name: str) -> int:
    """Return the port of a service's own web process: 8001 for the first, and so on."""
    return FIRST_PORT + NAMES.index(name)
