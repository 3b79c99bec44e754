"""OpenTelemetry's SDK, set up for this process; imported only when traces are enabled.

Tracing never blocks the work: a thread sends batches from a bounded queue, and spans are dropped
while the queue is full.
"""

import atexit
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import version

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import Span, SpanKind, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

#: Seconds for which an ending process waits to send its last spans.
LAST_SECONDS = 1.5

_W3C = TraceContextTextMapPropagator()


class Pipeline:
    """One queue and one export thread for the spans of all services in this process."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._processor = BatchSpanProcessor(_Sender(warn))
        self._resource = Resource.create(
            {"service.namespace": "farmgate", "service.version": version("farmgate")}
        )
        self._tracer = cache(self._new_tracer)
        self._watch_end()
        os.register_at_fork(after_in_child=self._watch_end)
        atexit.register(self.stop)

    def start(
        self,
        service: str,
        name: str,
        kind: str,
        attributes: Mapping[str, str | int],
        traceparent: str | None,
        began_ns: int | None = None,
    ) -> Span:
        """Start a span of `service`; without a valid `traceparent` it starts a new trace."""
        return self._tracer(service).start_span(
            name,
            context=_W3C.extract({"traceparent": traceparent or ""}, Context()),
            kind=SpanKind[kind.upper()],
            attributes=attributes,
            start_time=began_ns,
        )

    @staticmethod
    def traceparent_of(span: Span) -> str:
        """Return the W3C traceparent of a span, for its children."""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, set_span_in_context(span, Context()))
        return carrier["traceparent"]

    def stop(self) -> None:
        """Send the queued spans; return after at most `LAST_SECONDS`."""
        atexit.unregister(self.stop)
        self._ending.set()
        self._ended.wait(LAST_SECONDS)

    def _new_tracer(self, service: str) -> Tracer:
        # The service name belongs to the provider, and the embedded run has four services.
        provider = TracerProvider(
            resource=self._resource.merge(Resource({"service.name": service})),
            shutdown_on_exit=False,
        )
        provider.add_span_processor(self._processor)
        return provider.get_tracer("farmgate")

    def _watch_end(self) -> None:
        # The SDK's shutdown waits up to 30 s for a receiver that does not answer, so another thread
        # calls it. The thread starts now, because an ending process cannot start threads.
        self._ending, self._ended = threading.Event(), threading.Event()
        threading.Thread(target=self._end, name="traces-end", daemon=True).start()

    def _end(self) -> None:
        self._ending.wait()
        self._processor.shutdown()  # type: ignore[no-untyped-call]
        self._ended.set()


class _Sender(OTLPSpanExporter):
    """Sends batches; warns once when sending begins to fail, and once when it works again."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        super().__init__()
        self._warn, self._lost, self._warned_full = warn, 0, False
        # The SDK would log each failure, with the receiver's address, and a full queue repeatedly.
        logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
        logging.getLogger("opentelemetry.sdk._shared_internal").addFilter(self._should_log)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send one batch; a failed batch is lost."""
        result = super().export(spans)
        if result is not SpanExportResult.SUCCESS:
            if not self._lost:
                self._warn(
                    "traces are lost: the receiver is unavailable, too slow or refuses them; the "
                    "process works on without traces (see OTEL_EXPORTER_OTLP_ENDPOINT)"
                )
            self._lost += len(spans)
        elif self._lost:
            self._warn(f"traces are sent again; at least {self._lost} spans were lost")
            self._lost = 0
        return result

    def _should_log(self, record: logging.LogRecord) -> bool:
        """Log the SDK's warning about a full queue once, and not while batches are lost."""
        first, self._warned_full = not self._warned_full, True
        return first and not self._lost
