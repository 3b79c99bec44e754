"""Prometheus metrics of web and worker; several processes of one service add up."""

import os
from collections import Counter as Counts

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)
from prometheus_client import REGISTRY as DEFAULT

requests = Counter(
    "farmgate_http_requests", "HTTP requests answered", ["service", "method", "route", "status"]
)
latency = Histogram(
    "farmgate_http_request_seconds",
    "Seconds from request to answer",
    ["service", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
events = Counter(
    "farmgate_events", "Events by what became of them", ["service", "outcome"]
)
oldest = Gauge(
    "farmgate_oldest_unpublished_seconds",
    "Age of the oldest event that is not published",
    ["service"],
    multiprocess_mode="mostrecent",
)
parked = Gauge(
    "farmgate_parked_events", "Parked events", ["service", "state"], multiprocess_mode="mostrecent"
)


def count_outcomes(service: str, counts: Counts[str]) -> None:
    """Add what became of a batch: handled, repeated, ignored, parked, published."""
    for outcome, count in counts.items():
        events.labels(service, outcome).inc(count)


def expose() -> bytes:
    """Return all metrics in Prometheus's text format."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
    return generate_latest(DEFAULT)


def child_exit(pid: int) -> None:
    """Forget the live gauges of a gunicorn worker that ended."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
