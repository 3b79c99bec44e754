"""Several HTTP processes of one service that share a port, under gunicorn."""

import gc
import os
import signal
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.errors import AppImportError
from gunicorn.workers.base import Worker

from farmgate.cli import PRIVATE
from farmgate.http_server import HttpServer
from shared.runtime import collector, watchdog
from shared.runtime.config import Settings
from shared.runtime.errors import Misconfigured


class Server(BaseApplication):  # type: ignore[misc]
    """Gunicorn with our settings; each worker process creates the application after the fork."""

    def __init__(self, service: str, options: dict[str, Any]) -> None:
        self.service = service
        self.options = options
        super().__init__()

    def load_config(self) -> None:
        """Set the options."""
        for name, value in self.options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Create the application."""
        from farmgate.commands.web import application

        try:
            return application(self.service)
        except Misconfigured as error:
            # Of this error gunicorn prints the message only, without a stack trace.
            raise AppImportError(f"Error: {error.detail}") from error


class WaitressWorker(Worker):  # type: ignore[misc]
    """A gunicorn worker process that serves with waitress."""

    def run(self) -> None:
        """Answer until a signal comes or the parent ends; then finish running requests."""
        sockets = [listening.sock for listening in self.sockets]
        server = HttpServer(self.wsgi, threads=self.cfg.threads, sockets=sockets)
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
            signal.signal(number, lambda *_: server.stop())

        collector.settle()

        def on_tick() -> None:
            self.notify()
            # `alive` is False after a signal that gunicorn's own handler got.
            if not self.alive or os.getppid() != self.ppid:
                server.stop()

        server.run(on_tick, self.cfg.graceful_timeout)


def pre_fork(server: Any, worker: Any) -> None:
    """Freeze inherited objects, since a collection in the worker would copy their memory pages."""
    gc.freeze()


def run(service: str, address: str, workers: int, threads: int, grace: int) -> None:
    """Answer at `address` in `workers` processes until a signal comes."""
    # Wrong settings are reported here once, not by every worker process.
    settings = Settings.from_environment(service)
    watchdog.seconds_of(settings.environment)
    Server(
        service,
        {
            "bind": address,
            "workers": workers,
            "threads": threads,
            "worker_class": WaitressWorker,
            "proc_name": f"{service}-web",
            "graceful_timeout": grace,
            "loglevel": "warning",
            "pre_fork": pre_fork,
            # Gunicorn sets a umask; its default is 0.
            "umask": PRIVATE,
        },
    ).run()
