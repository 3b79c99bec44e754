"""HTTP answered by threads of this process: the embedded run and the pages."""

import threading
from collections.abc import Callable, Iterable
from typing import Any

from waitress.server import create_server
from waitress.trigger import trigger

from farmgate.failures import Failed

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Answering:
    """A server that listens from the start on, and answers between `start` and `close`.

    Raises Failed where the address cannot be had.
    """

    def __init__(self, application: Application, host: str, port: int, threads: int) -> None:
        self._sockets: dict[int, Any] = {}
        try:
            self._server = create_server(
                application, map=self._sockets, host=host, port=port, threads=threads
            )
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
