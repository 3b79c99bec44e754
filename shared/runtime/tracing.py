"""The cause of the current work: the request or event behind it, named in each recorded event.

If OTEL_… variables enable traces, requests, handled events, publishes and messages also become
spans of OpenTelemetry. Otherwise nothing of OpenTelemetry is imported.
"""

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from shared.runtime.otlp import Pipeline


@dataclass(frozen=True, slots=True)
class Cause:
    """`correlation_id` is the same along the chain; `causation_id` is the event just before."""

    correlation_id: str
    causation_id: str | None = None
    #: W3C Trace Context, as received.
    traceparent: str | None = None


_current: ContextVar[Cause | None] = ContextVar("cause", default=None)


def get_or_new() -> Cause:
    """Return the cause of the current work, or a new one with a new correlation id."""
    return _current.get() or Cause(correlation_id=secrets.token_hex(16))


def current() -> Cause | None:
    """Return the cause of the current work, or None."""
    return _current.get()


@contextmanager
def caused_by(cause: Cause) -> Iterator[None]:
    """Make `cause` the cause of the work inside."""
    token = _current.set(cause)
    try:
        yield
    finally:
        _current.reset(token)


def new_traceparent() -> str:
    """Return a W3C traceparent with new ids, not sampled."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"


Kind = Literal["server", "producer", "consumer"]
#: No personal data: names, methods, states and our own ids only.
Attributes = Mapping[str, str | int]
#: Standard variables for the receiver's URL; each of them enables traces.
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
#: The only supported protocol; the extra `farmgate[otel]` installs its exporter.
HTTP = "http/protobuf"

_pipeline: "Pipeline | None" = None


def start(warn: Callable[[str], None]) -> None:
    """Export spans from now on, if OTEL_… variables of this process enable traces.

    If spans cannot be exported, `warn` is called with one line, and the process goes on without.
    """
    global _pipeline
    if _pipeline is not None or not enabled(os.environ):
        return
    protocol = next((os.environ[name] for name in PROTOCOLS if os.environ.get(name)), HTTP)
    if protocol != HTTP:
        warn(f"no traces: OTEL_EXPORTER_OTLP_PROTOCOL is {protocol}, only {HTTP} is supported")
        return
    try:
        from shared.runtime import otlp

        _pipeline = otlp.Pipeline(warn)
    except ImportError as error:
        warn(f"no traces: install farmgate[otel] ({error})")
    # A malformed OTEL_… variable must not stop the process.
    except Exception as error:
        warn(f"no traces: {type(error).__name__}: {error}")


def stop() -> None:
    """Stop exporting; send the queued spans within a short time."""
    global _pipeline
    pipeline, _pipeline = _pipeline, None
    if pipeline is not None:
        pipeline.stop()


def enabled(environment: Mapping[str, str]) -> bool:
    """Tell whether the standard variables enable traces."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = environment.get("OTEL_TRACES_EXPORTER", "").replace(" ", "").split(",")
    if exporters != [""]:
        return "otlp" in exporters
    return any(environment.get(name) for name in ENDPOINTS)


def exporting() -> bool:
    """Tell whether spans are exported."""
    return _pipeline is not None


def span(
    service: str, name: str, kind: Kind, attributes: Attributes
) -> "AbstractContextManager[Span | None]":
    """Run the work inside as a span, a child of the current cause's span.

    Events recorded inside carry the span's traceparent. Yields None if spans are not exported.
    """
    if _pipeline is None:
        return nullcontext()
    return _span(_pipeline, service, name, kind, attributes)


@contextmanager
def _span(
    pipeline: "Pipeline", service: str, name: str, kind: Kind, attributes: Attributes
) -> "Iterator[Span]":
    cause = get_or_new()
    span = pipeline.start(service, name, kind, attributes, cause.traceparent)
    try:
        with caused_by(replace(cause, traceparent=pipeline.traceparent_of(span))):
            yield span
    except BaseException as error:
        fail(span, type(error).__name__)
        raise
    finally:
        span.end()


def ended(
    service: str,
    name: str,
    kind: Kind,
    attributes: Attributes,
    *,
    traceparent: str | None,
    began_ns: int,
    failed: str | None = None,
) -> None:
    """Add a span of work that ends now and began at `began_ns` (`time.time_ns()`).

    Does nothing if spans are not exported, or if the trace is not sampled.
    """
    if _pipeline is None or not sampled(traceparent):
        return
    span = _pipeline.start(service, name, kind, attributes, traceparent, began_ns)
    if failed is not None:
        fail(span, failed)
    span.end()


def fail(span: "Span", kind: str) -> None:
    """Mark a span as failed, with the kind of error only: its text may contain personal data."""
    from opentelemetry.trace import StatusCode

    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)


def sampled(traceparent: str | None) -> bool:
    """Tell whether the trace is sampled, by the flag of its `traceparent`."""
    return traceparent is not None and traceparent[-1:] in "13579bdf"
