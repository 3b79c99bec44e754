"""Prometheus metrics of web and worker, with the label `service`.

There is one registry, because four services share a process in the embedded run. If a service has
several processes, `PROMETHEUS_MULTIPROC_DIR` (set before the import) names the folder where they
add up; it must be empty at the start. Each label's values come from a closed set, never from a
client: each new value is a new series until the process ends.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from threading import Thread
from typing import NamedTuple
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
from shared.runtime.metric_files import ProcessNumber

log = get(__name__)


def _share(folder: Path) -> None:
    try:
        number = ProcessNumber(folder)
        values.ValueClass = values.MultiProcessValue(number)  # type: ignore[no-untyped-call]
    except OSError as error:
        # A full or read-only folder must not stop the process.
        log.error("metrics are not shared between processes", error=repr(error))
        values.ValueClass = values.MutexValue


if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
    _share(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))

CONTENT_TYPE = CONTENT_TYPE_LATEST
#: States of parked events. Each is exported as 0 when there are none: an alert needs the series.
PARKED_STATES = ("waiting", "behind", "suspect", "dead")
#: Methods of HTTP (RFC 9110 and 5789); a client may send others.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: Label of all other methods, in spans and logs, too. Source: OpenTelemetry's HTTP conventions.
OTHER_METHOD = "_OTHER"

_requests = Counter(
    "farmgate_http_requests", "Requests answered.", ["service", "method", "route", "status"]
)
_seconds = Histogram(
    "farmgate_http_request_seconds",
    "Duration of requests.",
    ["service", "method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_events = Counter("farmgate_events", "Events by outcome.", ["service", "outcome"])
_oldest = Gauge(
    "farmgate_oldest_unpublished_seconds",
    "Age of the oldest unpublished event.",
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
    "1 while the broker's memory or disk alarm blocks the service's relay.",
    ["service"],
    multiprocess_mode="livemostrecent",
)

_working = Gauge(
    "farmgate_working_seconds",
    "Duration of the worker's current transaction or timer.",
    ["service"],
    multiprocess_mode="livemostrecent",
)


_late = Gauge(
    "farmgate_late",
    "Rows that wait longer than their limit, by kind; counted up to 1000.",
    ["service", "kind"],
    multiprocess_mode="mostrecent",
)


_fill = Gauge(
    "farmgate_queue_fill",
    "Bytes in an integrator's queue, as a part of its bound.",
    ["queue"],
    multiprocess_mode="livemostrecent",
)
_still = Gauge(
    "farmgate_queue_still_seconds",
    "Time since an integrator's queue was empty, or its subscriber took something.",
    ["queue"],
    multiprocess_mode="livemostrecent",
)
_refused = Gauge(
    "farmgate_queue_refused",
    "1 while an integrator's queue is full or missing: its events wait in the feed.",
    ["queue"],
    multiprocess_mode="livemostrecent",
)


class QueueMetrics(NamedTuple):
    """What is exported of an integrator's queue."""

    fill: float
    still_seconds: float
    is_refused: bool


GONE = QueueMetrics(0.0, 0.0, False)
#: The queues that are exported.
_queues: set[str] = set()


def known_method(method: str) -> str:
    """Return `method` if it is in `METHODS`, else `OTHER_METHOD`."""
    return method if method in METHODS else OTHER_METHOD


def count_request(service: str, method: str, route: str, status: int, seconds: float) -> None:
    """Count one answered request; `route` is the URL pattern, not the path."""
    method = known_method(method)
    _requests.labels(service, method, route, status).inc()
    _seconds.labels(service, method, route).observe(seconds)


def count_events(service: str, counts: Mapping[str, int]) -> None:
    """Count events by outcome: `handled`, `repeated`, `ignored`, `parked` or `published`."""
    for outcome, count in counts.items():
        _events.labels(service, outcome).inc(count)


def set_backlog(service: str, oldest_seconds: float, parked: Mapping[str, int]) -> None:
    """Set the age of the oldest unpublished event, and the number of parked events by state."""
    _oldest.labels(service).set(oldest_seconds)
    for state in PARKED_STATES:
        _parked.labels(service, state).set(parked.get(state, 0))


def set_late(service: str, kind: str, count: int) -> None:
    """Set the number of a service's late rows of one kind."""
    _late.labels(service, kind).set(count)


def set_relay_blocked(service: str, blocked: bool) -> None:
    """Set whether the broker's alarm blocks a service's relay."""
    _blocked.labels(service).set(blocked)


def set_working(service: str, seconds: float) -> None:
    """Set the duration of the worker's current transaction or timer, in seconds."""
    _working.labels(service).set(seconds)


def set_queues(queues: Mapping[str, QueueMetrics]) -> None:
    """Set the state of all integrators' queues; a queue that is gone stays there as an empty one.

    Metrics that several processes share cannot be removed.
    """
    _queues.update(queues)
    for queue in _queues:
        state = queues.get(queue, GONE)
        _fill.labels(queue).set(state.fill)
        _still.labels(queue).set(state.still_seconds)
        _refused.labels(queue).set(state.is_refused)


def expose() -> bytes:
    """Return the metrics in Prometheus's text format, for all processes that share the folder."""
    if not values.ValueClass._multiprocess:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def serve(port: int, host: str) -> tuple[WSGIServer, Thread]:
    """Serve the metrics on `port`, for a process without HTTP routes; return server and thread."""
    return start_http_server(port, host)
