"""HTTP answered by threads of this process: the embedded run and the pages.

A thread gets a request when all of it has come, so slow clients hold no thread. They could hold all
connections: a request has a time to come in, and of too many connections the idlest is closed.
"""

import threading
from collections.abc import Callable, Iterable
from time import time
from typing import Any

from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer, create_server
from waitress.trigger import trigger

from farmgate.failures import Failed

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


#: Connections at once; each is a file of the process, of which systems allow 1,024.
CONNECTIONS = 200
#: Seconds for a request's headers; for all of it, or between two requests.
HEADER_SECONDS, WHOLE_SECONDS = 15, 120
#: Seconds between looks for connections whose time is over.
LOOK = 1


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


class Answering:
    """A server that listens from the start on, and answers between `start` and `close`.

    Raises Failed where the address cannot be had.
    """

    def __init__(self, application: Application, host: str, port: int, threads: int) -> None:
        self._sockets: dict[int, Any] = {}
        try:
            self._server = create_server(
                application,
                map=self._sockets,
                host=host,
                port=port,
                threads=threads,
                # Never reached, but for connections that end just now.
                connection_limit=CONNECTIONS + 100,
                channel_timeout=WHOLE_SECONDS,
                cleanup_interval=LOOK,
                asyncore_use_poll=True,
            )
            for listening in self._sockets.values():
                if isinstance(listening, BaseWSGIServer):
                    listening.channel_class = Channel
        except OSError as error:
            raise Failed(
                f"Port {port} on {host} cannot be used: {error.strerror}. "
                "Give another one with --port."
            ) from error

    @property
    def port(self) -> int:
        """The port listened on, also where 0 left the choice to the system."""
        return int(self._server.effective_port)

    def run(self) -> None:
        """Answer in this thread, until SystemExit, after the requests in hand."""
        self._server.run()

    def start(self) -> None:
        """Answer in a thread of its own."""
        threading.Thread(target=self.run, name="http", daemon=True).start()

    def close(self) -> None:
        """Listen no more, and wait up to 5 seconds for the requests in hand.

        Its loop closes its own sockets: closed from here, it could wait for one that is gone.
        """
        waking = next(s for s in self._sockets.values() if isinstance(s, trigger))
        waking.pull_trigger(self._server.close)
        self._server.task_dispatcher.shutdown(timeout=5)
