"""The HTTP server of the embedded run, the pages and each service's web process: waitress.

A thread gets a request when it has arrived completely, so slow clients hold no thread. They could
hold all connections, so each request has a time limit, and the idlest connection makes room for a
new one.
"""

import logging
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from time import monotonic, time
from typing import Any

from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer, create_server

from farmgate.failures import Failed

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

#: Open connections at most. Each needs a file descriptor, and systems allow 1,024.
CONNECTIONS = 200
#: Seconds to receive a request's headers; to receive a request, or to wait for the next one.
HEADER_SECONDS, REQUEST_SECONDS = 15, 120
#: Seconds between checks for timed-out connections.
POLL_SECONDS = 1
#: Seconds that an idle connection stays open during shutdown: a request may be on its way.
LINGER = 0.5
#: The function in the WSGI environment that tells whether the server stops: an answer that waits or
#: goes on for minutes asks it.
STOPPING = "farmgate.stopping"
#: Seconds to finish running requests during shutdown.
GRACE = 5
#: Bytes of a request's headers at most; the gateway's limit.
MOST_HEADER_BYTES = 65_536
#: Bytes of a body at most. The applications have lower limits and answer with a problem document.
MOST_BODY_BYTES = 16 * 1024 * 1024
#: Larger bodies go to a temporary file, so that incomplete bodies take 25 MB of memory at most.
BODY_BYTES_IN_MEMORY = 131_072


class Channel(HTTPChannel):  # type: ignore[misc]
    """One connection; the time limit of a request runs from its first byte, not from its last."""

    last_activity: float
    began: float

    def __init__(self, server: Any, *args: Any, **options: Any) -> None:
        """Close the idlest other connection if there are too many."""
        super().__init__(server, *args, **options)
        others = server.active_channels.values()
        if len(others) > CONNECTIONS:
            idle = [other for other in others if other is not self and not other.requests]
            if idle:
                min(idle, key=lambda other: float(other.last_activity)).will_close = True

    def handle_read(self) -> None:
        """Read what has arrived; a client that sends byte by byte gets no more time."""
        before, since = self.request, self.last_activity
        super().handle_read()
        if self.request is None:
            return
        if self.request is before:
            self.last_activity = since
            if self.request.headers_finished:
                self.last_activity = self.began
        else:
            self.began = time()
            # waitress closes a connection REQUEST_SECONDS after its last activity.
            self.last_activity = self.began - (REQUEST_SECONDS - HEADER_SECONDS)

    def handle_write(self) -> None:
        """Send the output buffer, after the thread that is just sending.

        Without this lock the loop would spin until that thread is done, and hold the interpreter
        lock meanwhile: up to 5 ms per response.
        """
        with self.outbuf_lock:
            super().handle_write()


class HttpServer:
    """A server that listens once it is made, and answers in `run` or from `start` to `close`.

    It listens on `sockets` if given, else on `host` and `port`.

    Raises:
        Failed: the address is taken or not allowed.
    """

    def __init__(
        self,
        application: Application,
        host: str = "127.0.0.1",
        port: int = 0,
        threads: int = 4,
        sockets: Sequence[socket.socket] = (),
    ) -> None:
        # waitress warns of each request that waits for a thread.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        self._sockets: dict[int, Any] = {}
        self._stopping = False
        self._due = 0.0
        try:
            self._server = create_server(
                lambda environ, start: application({**environ, STOPPING: self._is_stopping}, start),
                map=self._sockets,
                threads=threads,
                # More than CONNECTIONS, since connections that are closing count.
                connection_limit=CONNECTIONS + 100,
                channel_timeout=REQUEST_SECONDS,
                cleanup_interval=POLL_SECONDS,
                max_request_header_size=MOST_HEADER_BYTES,
                max_request_body_size=MOST_BODY_BYTES,
                inbuf_overflow=BODY_BYTES_IN_MEMORY,
                # These log lines have the path, which may be a guest order's secret.
                log_socket_errors=False,
                **({"sockets": list(sockets)} if sockets else {"host": host, "port": port}),
            )
        except OSError as error:
            raise Failed(
                f"Port {port} on {host} cannot be used: {error.strerror}. "
                "Give another one with --port."
            ) from error
        self._listening = [s for s in self._sockets.values() if isinstance(s, BaseWSGIServer)]
        for listening in self._listening:
            listening.channel_class = Channel

    def _is_stopping(self) -> bool:
        return self._stopping

    @property
    def port(self) -> int:
        """The port; the one that the system chose if 0 was given."""
        return int(self._server.effective_port)

    def run(self, on_tick: Callable[[], None] = lambda: None, grace: float = GRACE) -> None:
        """Answer in this thread until `stop`; then finish running requests within `grace` seconds.

        `on_tick` is called about once a second, also during shutdown.
        """
        while not self._stopping:
            self._poll(POLL_SECONDS, on_tick)
        for listening in self._listening:
            # The system would reset connections that were not accepted yet.
            for _ in range(CONNECTIONS):
                listening.handle_accept()
            # Not `listening.close`, which also closes the trigger that wakes this loop.
            wasyncore.dispatcher.close(listening)
        began = monotonic()
        while (waited := monotonic() - began) < grace:
            open_ones = [s for s in self._sockets.values() if isinstance(s, Channel)]
            busy = [one for one in open_ones if one.requests or one.total_outbufs_len]
            if not busy and (waited > LINGER or not open_ones):
                break
            for request in [request for one in busy for request in tuple(one.requests)]:
                request.headers["CONNECTION"] = "close"
            self._poll(LINGER, on_tick)
        self._server.task_dispatcher.shutdown(timeout=LINGER)
        wasyncore.close_all(self._sockets)

    def _poll(self, seconds: float, on_tick: Callable[[], None]) -> None:
        # The loop runs twice per request; `on_tick` runs once a second.
        if monotonic() >= self._due:
            self._due = monotonic() + POLL_SECONDS
            on_tick()
        wasyncore.loop(timeout=seconds, use_poll=True, map=self._sockets, count=1)

    def stop(self) -> None:
        """Make `run` end; safe in a signal handler."""
        if not self._stopping:
            self._stopping = True
            self._listening[0].pull_trigger()

    def start(self) -> None:
        """Answer in a new thread."""
        self._thread = threading.Thread(target=self.run, name="http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening; wait up to GRACE seconds for running requests."""
        self.stop()
        self._thread.join()
