"""HTTP answered by threads of this process: the embedded run, the pages and each service's web.

A thread gets a request when all of it has come, so slow clients hold no thread. They could hold all
connections: a request has a time to come in, and of too many connections the idlest is closed.
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


#: Connections at once; each is a file of the process, of which systems allow 1,024.
CONNECTIONS = 200
#: Seconds for a request's headers; for all of it, or between two requests.
HEADER_SECONDS, WHOLE_SECONDS = 15, 120
#: Seconds between looks for connections whose time is over.
LOOK = 1
#: Seconds that an idle connection stays open at the end: its client may be sending a request.
LINGER = 0.5
#: Seconds for the requests in hand when a server is closed.
GRACE = 5
#: Bytes of a request's headers, as many as the gateway lets through.
MOST_HEADER_BYTES = 65_536
#: Bytes of a body. Above the limits of the applications, which refuse with a problem of their own.
MOST_BODY_BYTES = 16 * 1024 * 1024
#: Bytes of the largest body that is kept in memory and not in a temporary file, so that
#: half-sent bodies on all connections take 25 MB of it.
BODY_BYTES_IN_MEMORY = 131_072


class Channel(HTTPChannel):  # type: ignore[misc]
    """One connection; its time runs from a request's first byte and not from its last."""

    last_activity: float
    began: float

    def __init__(self, server: Any, *args: Any, **options: Any) -> None:
        """Take the place of the idlest connection when there are too many."""
        super().__init__(server, *args, **options)
        others = server.active_channels.values()
        if len(others) > CONNECTIONS:
            idle = [other for other in others if other is not self and not other.requests]
            if idle:
                min(idle, key=lambda other: float(other.last_activity)).will_close = True

    def handle_read(self) -> None:
        """Read what has come; a client that says little at a time gains no time by it."""
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
            # The server closes what has been silent for WHOLE_SECONDS.
            self.last_activity = self.began - (WHOLE_SECONDS - HEADER_SECONDS)

    def handle_write(self) -> None:
        """Send what waits, after the thread that is just sending.

        Without the wait this loop would turn until that thread is done, and keep the interpreter
        from it: up to 5 ms for each answer.
        """
        with self.outbuf_lock:
            super().handle_write()


class HttpServer:
    """A server that listens from the start on and answers in `run`, or from `start` to `close`.

    It listens on `sockets` where they are given, else on `host` and `port`.

    Raises Failed where the address cannot be had.
    """

    def __init__(
        self,
        application: Application,
        host: str = "127.0.0.1",
        port: int = 0,
        threads: int = 4,
        sockets: Sequence[socket.socket] = (),
    ) -> None:
        # It warns of each request that waits for a thread.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        self._sockets: dict[int, Any] = {}
        self._stopping = False
        self._due = 0.0
        try:
            self._server = create_server(
                application,
                map=self._sockets,
                threads=threads,
                # Never reached, but for connections that end just now.
                connection_limit=CONNECTIONS + 100,
                channel_timeout=WHOLE_SECONDS,
                cleanup_interval=LOOK,
                max_request_header_size=MOST_HEADER_BYTES,
                max_request_body_size=MOST_BODY_BYTES,
                inbuf_overflow=BODY_BYTES_IN_MEMORY,
                # With a socket's error it logs the path, which may be a guest order's secret.
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

    @property
    def port(self) -> int:
        """The port listened on, also where 0 left the choice to the system."""
        return int(self._server.effective_port)

    def run(self, look: Callable[[], None] = lambda: None, grace: float = GRACE) -> None:
        """Answer in this thread until `stop`, then the requests in hand, for up to `grace` seconds.

        `look` is called about once a second, to the end.
        """
        while not self._stopping:
            self._turn(LOOK, look)
        for listening in self._listening:
            # The system drops those who are connected and not accepted yet.
            for _ in range(CONNECTIONS):
                listening.handle_accept()
            # Not its own `close`: threads still wake this loop by what that would close too.
            wasyncore.dispatcher.close(listening)
        began = monotonic()
        while (waited := monotonic() - began) < grace:
            open_ones = [s for s in self._sockets.values() if isinstance(s, Channel)]
            busy = [one for one in open_ones if one.requests or one.total_outbufs_len]
            if not busy and (waited > LINGER or not open_ones):
                break
            for request in [request for one in busy for request in tuple(one.requests)]:
                request.headers["CONNECTION"] = "close"
            self._turn(LINGER, look)
        self._server.task_dispatcher.shutdown(timeout=LINGER)
        wasyncore.close_all(self._sockets)

    def _turn(self, seconds: float, look: Callable[[], None]) -> None:
        # Not at each turn, of which a request takes two.
        if monotonic() >= self._due:
            self._due = monotonic() + LOOK
            look()
        wasyncore.loop(timeout=seconds, use_poll=True, map=self._sockets, count=1)

    def stop(self) -> None:
        """Let `run` end; also safe in the handler of a signal."""
        if not self._stopping:
            self._stopping = True
            self._listening[0].pull_trigger()

    def start(self) -> None:
        """Answer in a thread of its own."""
        self._thread = threading.Thread(target=self.run, name="http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more, and wait up to GRACE seconds for the requests in hand."""
        self.stop()
        self._thread.join()
