"""What caused the present work: carried from a request or event to every event recorded by it.

The same chain can be seen as a trace: where OTEL_… variables ask for it, requests, handled
events, publishes and messages become spans of OpenTelemetry. Not asked, nothing is imported.
"""

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Cause:
    """`correlation_id` names the whole story, `causation_id` the event just before."""

    correlation_id: str
    causation_id: str | None = None
    #: W3C Trace Context, as received; a new one is made for work that nobody traced.
    traceparent: str | None = None


_present: ContextVar[Cause | None] = ContextVar("cause", default=None)


def present() -> Cause:
    """Return the cause of the present work; work that nobody caused begins a story of its own."""
    return _present.get() or Cause(correlation_id=secrets.token_hex(16))


def current() -> Cause | None:
    """Return the cause of the present work, or None when nothing is known to have caused it."""
    return _present.get()


@contextmanager
def caused_by(cause: Cause) -> Iterator[None]:
    """Let everything recorded inside name `cause`."""
    token = _present.set(cause)
    try:
        yield
    finally:
        _present.reset(token)


def new_traceparent() -> str:
    """Return a W3C traceparent with new ids, not sampled."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"


# --- Spans, for those who ask for them ----------------------------------------------------

Kind = Literal["server", "producer", "consumer"]
#: No personal data: names, methods, states and our own ids only.
Attributes = Mapping[str, str | int]
#: Standard variables of which one says that traces are wanted, and where.
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
#: The one protocol whose exporter the extra `farmgate[otel]` installs.
HTTP = "http/protobuf"


class Open(Protocol):
    """A piece of work that is being done."""

    def set(self, name: str, value: str | int) -> None:
        """Add an attribute."""

    def failed(self, kind: str) -> None:
        """Note that the work failed, and how, in a word."""


class Exporter(Protocol):
    """What `otlp` is to this module, which does not import it until traces are wanted."""

    def span(
        self, service: str, name: str, kind: Kind, attributes: Attributes
    ) -> AbstractContextManager[Open]:
        """See `span`."""

    def ended(
        self,
        service: str,
        name: str,
        kind: Kind,
        attributes: Attributes,
        *,
        traceparent: str | None,
        began_ns: int,
        failed: str | None,
    ) -> str | None:
        """See `ended`."""

    def stop(self) -> None:
        """Send what is there, within a short time."""


class _NoSpan:
    """Work that nobody traces."""

    def __enter__(self) -> "_NoSpan":
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def set(self, name: str, value: str | int) -> None:
        """Do nothing."""

    def failed(self, kind: str) -> None:
        """Do nothing."""


_NO_SPAN = _NoSpan()
_exporter: Exporter | None = None


def start(told: Callable[[str], None]) -> None:
    """Export spans from now on, if OTEL_… variables of this process ask for it.

    Otherwise nothing of OpenTelemetry is imported. `told` hears in one line why what is asked
    for cannot be done; the process goes on without. Connections and threads are made at the
    first span, so that a server may still fork after this call.
    """
    global _exporter
    if _exporter is not None or not wanted(os.environ):
        return
    protocol = next((os.environ[name] for name in PROTOCOLS if os.environ.get(name)), HTTP)
    if protocol != HTTP:
        told(f"no traces: OTEL_EXPORTER_OTLP_PROTOCOL is {protocol}, and only {HTTP} is spoken")
        return
    try:
        from shared.runtime import otlp
    except ImportError as error:
        told(f"no traces: install farmgate[otel] ({error})")
        return
    _exporter = otlp.Otlp(told)


def stop() -> None:
    """Send the spans that are left, within a short time, and export none from now on."""
    global _exporter
    exporter, _exporter = _exporter, None
    if exporter is not None:
        exporter.stop()


def wanted(environment: Mapping[str, str]) -> bool:
    """Tell whether the standard variables ask for traces."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = environment.get("OTEL_TRACES_EXPORTER", "").replace(" ", "").split(",")
    if exporters != [""]:
        return "otlp" in exporters
    return any(environment.get(name) for name in ENDPOINTS)


def exporting() -> bool:
    """Tell whether spans are exported."""
    return _exporter is not None


def span(
    service: str, name: str, kind: Kind, attributes: Attributes
) -> AbstractContextManager[Open]:
    """Let the work inside be a span: a child of the present cause, and parent of what follows.

    Events recorded inside carry its traceparent. Without an exporter nothing happens.
    """
    if _exporter is None:
        return _NO_SPAN
    return _exporter.span(service, name, kind, attributes)


def ended(
    service: str,
    name: str,
    kind: Kind,
    attributes: Attributes,
    *,
    traceparent: str | None,
    began_ns: int,
    failed: str | None = None,
) -> str | None:
    """Add a span of work that ends now and began at `began_ns` (`time.time_ns()`).

    Returns its traceparent; without an exporter, or where nobody traces, the given one.
    """
    if _exporter is None or not sampled(traceparent):
        return traceparent
    return _exporter.ended(
        service,
        name,
        kind,
        attributes,
        traceparent=traceparent,
        began_ns=began_ns,
        failed=failed,
    )


def sampled(traceparent: str | None) -> bool:
    """Tell whether whoever began the trace keeps it."""
    return traceparent is not None and traceparent[-1:] in "13579bdf"
