"""Spans to whoever speaks OTLP over HTTP. Imported only where traces are wanted.

Tracing never holds up the work: spans wait in a bounded queue, one thread sends them in
batches, what finds the queue full is dropped, and a receiver that is down, slow or refuses
costs one warning. No span holds an exception's text: it may quote a person's data.
"""

import atexit
import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from importlib.metadata import version
from types import TracebackType

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
)

from shared.runtime import tracing
from shared.runtime.tracing import Attributes, Kind

#: Seconds a process that ends gives the receiver to take the last spans.
LAST_SECONDS = 1.5

_KINDS = {
    "server": SpanKind.SERVER,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}


class Otlp:
    """The exporter of one process; what it needs to run is made at the first span.

    A server may so load its application before it forks: threads do not survive that.
    """

    def __init__(self, told: Callable[[str], None]) -> None:
        self._told = told
        self._lock = threading.Lock()
        self._pipeline: _Pipeline | None = None
        self._broken = False

    def span(
        self, service: str, name: str, kind: Kind, attributes: Attributes
    ) -> AbstractContextManager[tracing.Open]:
        """See `tracing.span`."""
        return _Working(self._tracer(service), name, kind, attributes)

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
        """See `tracing.ended`."""
        span = self._tracer(service).start_span(
            name,
            context=_context(traceparent),
            kind=_KINDS[kind],
            attributes=attributes,
            start_time=began_ns,
        )
        if failed is not None:
            _fail(span, failed)
        span.end()
        return _traceparent(span)

    def stop(self) -> None:
        """Send what is there; return after `LAST_SECONDS` at the latest."""
        if self._pipeline is not None and self._pipeline.pid == os.getpid():
            self._pipeline.stop()

    def _tracer(self, service: str) -> Tracer:
        pipeline = self._pipeline
        if pipeline is None or pipeline.pid != os.getpid():
            pipeline = self._start()
            if pipeline is None:
                return trace.NoOpTracer()
        return pipeline.tracer(service)

    def _start(self) -> "_Pipeline | None":
        with self._lock:
            if self._broken:
                return None
            if self._pipeline is None or self._pipeline.pid != os.getpid():
                try:
                    self._pipeline = _Pipeline(self._told)
                # A wrong value of some OTEL_… variable must not take requests or events down.
                except Exception as error:
                    self._broken = True
                    self._told(f"no traces: {type(error).__name__}: {error}")
                    tracing.stop()
                    return None
                atexit.register(self.stop)
            return self._pipeline


class _Pipeline:
    """Queue, sending thread and one tracer per service of this process."""

    def __init__(self, told: Callable[[str], None]) -> None:
        self.pid = os.getpid()
        self._lock = threading.Lock()
        self._tracers: dict[str, Tracer] = {}
        sender = _Sender(OTLPSpanExporter(), told)
        self._processor = BatchSpanProcessor(sender)
        self._resource = Resource.create(
            {"service.namespace": "farmgate", "service.version": version("farmgate")}
        )
        self._asked, self._done = threading.Event(), threading.Event()
        # Its own thread, and now: a process that ends can start none, and the library's way to
        # stop waits half a minute for a receiver that does not answer.
        threading.Thread(target=self._end, name="traces-end", daemon=True).start()

    def tracer(self, service: str) -> Tracer:
        """Return what makes the spans of a service: the embedded run has four in one process."""
        tracer = self._tracers.get(service)
        if tracer is None:
            with self._lock:
                provider = TracerProvider(
                    resource=self._resource.merge(Resource({"service.name": service})),
                    shutdown_on_exit=False,
                )
                provider.add_span_processor(self._processor)
                tracer = self._tracers[service] = provider.get_tracer("farmgate")
        return tracer

    def stop(self) -> None:
        self._asked.set()
        self._done.wait(LAST_SECONDS)

    def _end(self) -> None:
        self._asked.wait()
        self._processor.shutdown()  # type: ignore[no-untyped-call]
        self._done.set()


class _Sender(SpanExporter):
    """Sends batches, and says in one line when that begins to fail and when it works again."""

    def __init__(self, exporter: OTLPSpanExporter, told: Callable[[str], None]) -> None:
        self._exporter, self._told = exporter, told
        self._lost = 0
        # They say each failure, with its address and stack; the queue says each span it drops.
        logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
        queue = logging.getLogger("opentelemetry.sdk._shared_internal")
        queue.setLevel(logging.WARNING)
        queue.addFilter(_QueueFull(self))

    @property
    def failing(self) -> bool:
        """True from a batch that was lost to the next one that was taken."""
        return self._lost > 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send one batch; whatever goes wrong is said once, and the batch is gone."""
        try:
            result = self._exporter.export(spans)
        except Exception:
            result = SpanExportResult.FAILURE
        if result is not SpanExportResult.SUCCESS:
            if not self._lost:
                self._told(
                    "traces are lost: their receiver is away, slow or refuses them; all else goes "
                    "on (see OTEL_EXPORTER_OTLP_ENDPOINT)"
                )
            self._lost += len(spans)
        elif self._lost:
            self._told(f"traces are taken again, after {self._lost} spans or more were lost")
            self._lost = 0
        return result

    def shutdown(self) -> None:
        """Give the connection back."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


class _QueueFull(logging.Filter):
    """Lets the queue say once that it is full, and not at all if the receiver is away."""

    def __init__(self, sender: _Sender) -> None:
        super().__init__()
        self._sender = sender

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether to write the line, and let no other be made: each would cost a record."""
        logging.getLogger(record.name).setLevel(logging.CRITICAL)
        return not self._sender.failing


class _Working:
    """One span around work of this thread; see `tracing.span`."""

    def __init__(self, tracer: Tracer, name: str, kind: Kind, attributes: Attributes) -> None:
        cause = tracing.present()
        self._span = tracer.start_span(
            name, context=_context(cause.traceparent), kind=_KINDS[kind], attributes=attributes
        )
        traceparent = _traceparent(self._span) or cause.traceparent
        self._inside = tracing.caused_by(replace(cause, traceparent=traceparent))

    def __enter__(self) -> "_Working":
        self._inside.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._inside.__exit__(kind, error, traceback)
        if kind is not None:
            self.failed(kind.__name__)
        self._span.end()

    def set(self, name: str, value: str | int) -> None:
        self._span.set_attribute(name, value)

    def failed(self, kind: str) -> None:
        _fail(self._span, kind)


def _fail(span: trace.Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))


def _context(traceparent: str | None) -> Context:
    """Return the parent's context; an empty one, for a trace of its own, without a parent."""
    parts = (traceparent or "").split("-")
    try:
        _, trace_id, span_id, flags = (int(part, 16) for part in parts)
    except ValueError:
        return Context()
    parent = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    return trace.set_span_in_context(NonRecordingSpan(parent), Context())


def _traceparent(span: trace.Span) -> str | None:
    context = span.get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
