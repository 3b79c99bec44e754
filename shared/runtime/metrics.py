"""Prometheus metrics of web and worker, told apart by the label `service`.

One registry: in the embedded run four services share a process. With several processes of one
service, `PROMETHEUS_MULTIPROC_DIR` (set before this is imported) names the folder where they
add up; it must be empty at the start. Every label's value comes from a closed set, never from a
client: a new one is a new series, which stays until the process ends.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
    start_http_server,
    values,
)

from shared.runtime.logs import get
from shared.runtime.metric_files import Numbers

log = get(__name__)


def _share(folder: Path) -> None:
    try:
        values.ValueClass = values.MultiProcessValue(Numbers(folder))  # type: ignore[no-untyped-call]
    except OSError as error:
        # A process without a place for its metrics still has its work to do.
        log.error("metrics are of this process only", error=repr(error))
        values.ValueClass = values.MutexValue


if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
    _share(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))

CONTENT_TYPE = CONTENT_TYPE_LATEST
#: States of parked events, shown as 0 when there are none: an alarm needs a line that can rise.
PARKED_STATES = ("waiting", "behind", "suspect", "dead")
#: HTTP's methods (RFC 9110 and 5789); a client may invent others.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: Stands for all other methods, also in spans and in the log: OpenTelemetry's word for them.
OTHER_METHOD = "_OTHER"

_requests = Counter(
    "farmgate_http_requests", "Requests answered.", ["service", "method", "route", "status"]
)
_seconds = Histogram(
    "farmgate_http_request_seconds",
    "From request to answer.",
    ["service", "method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_events = Counter("farmgate_events", "Events by what became of them.", ["service", "outcome"])
_oldest = Gauge(
    "farmgate_oldest_unpublished_seconds",
    "Age of the oldest event that is not published.",
    ["service"],
    multiprocess_mode="mostrecent",
)
_parked = Gauge(
    "farmgate_parked_events",
    "Events that could not take effect yet.",
    ["service", "state"],
    multiprocess_mode="mostrecent",
)

_blocked = Gauge(
    "farmgate_relay_blocked",
    "1 while the broker's memory or disk alarm holds the service's events back.",
    ["service"],
    multiprocess_mode="livemostrecent",
)

_working = Gauge(
    "farmgate_working_seconds",
    "How long the worker has been at the work in its hands: a transaction, a timer.",
    ["service"],
    multiprocess_mode="livemostrecent",
)


_late = Gauge(
    "farmgate_late",
    "What waits longer than its limit, by the way in which it is late; 1000 stands for more, too.",
    ["service", "kind"],
    multiprocess_mode="mostrecent",
)


def known_method(method: str) -> str:
    """Return `method` if it is one of HTTP's, else `OTHER_METHOD`."""
    return method if method in METHODS else OTHER_METHOD


def count_request(service: str, method: str, route: str, status: int, seconds: float) -> None:
    """Count one answered request; `route` is a pattern, so that there are few of them."""
    method = known_method(method)
    _requests.labels(service, method, route, status).inc()
    _seconds.labels(service, method, route).observe(seconds)


def count_events(service: str, counts: Mapping[str, int]) -> None:
    """Add what became of a batch: `handled`, `repeated`, `ignored`, `parked`, `published`."""
    for outcome, count in counts.items():
        _events.labels(service, outcome).inc(count)


def set_backlog(service: str, oldest_seconds: float, parked: Mapping[str, int]) -> None:
    """Say how late a service's events are, and how many are parked by state."""
    _oldest.labels(service).set(oldest_seconds)
    for state in PARKED_STATES:
        _parked.labels(service, state).set(parked.get(state, 0))


def set_late(service: str, kind: str, count: int) -> None:
    """Say how many of a service's rows are late in one way."""
    _late.labels(service, kind).set(count)


def set_relay_blocked(service: str, blocked: bool) -> None:
    """Say whether the broker's alarm holds a service's events back."""
    _blocked.labels(service).set(blocked)


def set_working(service: str, seconds: float) -> None:
    """Say how long a service's worker has been at the work in its hands."""
    _working.labels(service).set(seconds)


def expose() -> bytes:
    """Return all metrics in Prometheus's text format, of all processes that share a folder."""
    if not values.ValueClass._multiprocess:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def serve(port: int, host: str) -> tuple[WSGIServer, Thread]:
    """Answer scrapes on `port`, for a process without HTTP of its own; return server and thread."""
    return start_http_server(port, host)
