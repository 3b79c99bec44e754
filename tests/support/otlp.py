"""A receiver of traces inside the test's process: OTLP over HTTP, read with OTLP's own classes."""

import gzip
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.support.servers import wait_until


@dataclass(frozen=True)
class Seen:
    """One span as it arrived."""

    service: str
    name: str
    #: `server`, `producer`, `consumer`.
    kind: str
    trace_id: str
    span_id: str
    #: Empty for the first span of a trace.
    parent_id: str
    attributes: dict[str, Any]
    failed: bool
    #: Nanoseconds since 1970.
    began_ns: int
    ended_ns: int
    #: The whole span as text, to search for what must not be in it.
    text: str


class Receiver:
    """A context manager; `status` is what it answers, it answers only while `open` is set."""

    def __init__(self) -> None:
        self.status = 200
        self.open = threading.Event()
        self.open.set()
        #: Requests that came, answered or not.
        self.requests = 0
        self._spans: list[Seen] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                receiver.requests += 1
                receiver.open.wait(30)
                if receiver.status == 200:
                    assert self.path == "/v1/traces"
                    receiver._read(body)
                answer = ExportTraceServiceResponse().SerializeToString()
                try:
                    self.send_response(receiver.status)
                    self.send_header("Content-Type", "application/x-protobuf")
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)
                except OSError:
                    return  # the sender gave up meanwhile

            def log_message(self, format: str, *args: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Receiver":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.open.set()
        self._server.shutdown()
        self._server.server_close()

    def spans(self) -> list[Seen]:
        """Return what has arrived so far."""
        return list(self._spans)

    def wait(self, holds: Callable[[list[Seen]], bool], seconds: float, what: str) -> list[Seen]:
        """Return what has arrived once it `holds`.

        Raises:
            TimeoutError: it did not within `seconds`.
        """
        try:
            wait_until(lambda: holds(self.spans()), seconds, what)
        except TimeoutError as error:
            names = sorted({f"{span.service}: {span.name}" for span in self.spans()})
            raise TimeoutError(f"{error}; there are {names}") from error
        return self.spans()

    def _read(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        for resource_spans in request.resource_spans:
            resource = _attributes(resource_spans.resource.attributes)
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    self._spans.append(
                        Seen(
                            service=str(resource["service.name"]),
                            name=span.name,
                            kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
                            trace_id=span.trace_id.hex(),
                            span_id=span.span_id.hex(),
                            parent_id=span.parent_span_id.hex(),
                            attributes=_attributes(span.attributes),
                            failed=span.status.code == Status.STATUS_CODE_ERROR,
                            began_ns=span.start_time_unix_nano,
                            ended_ns=span.end_time_unix_nano,
                            text=str(span),
                        )
                    )


def _attributes(found: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in found}
