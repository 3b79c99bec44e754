"""`farmgate web`: the HTTP process of one service."""

import gc
import os
import shutil
import signal
from typing import Any

import click
from gunicorn.app.base import BaseApplication
from gunicorn.errors import AppImportError
from gunicorn.workers.base import Worker

from farmgate.cli import PRIVATE
from farmgate.http_server import HttpServer
from farmgate.parameters import WholeNumber
from farmgate.services import NAMES, application_of, port_of
from shared.runtime import addresses, collector, watchdog
from shared.runtime.config import Settings
from shared.runtime.errors import Misconfigured
from shared.runtime.supervision import Stopping, supervise


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
        """Create the application with a watchdog, which ends a worker whose database hangs."""
        from shared.web.state import NAME  # imports Flask, which the parent does not need

        settings = Settings.from_environment(self.service)
        try:
            application = application_of(self.service)(settings)
        except Misconfigured as error:
            # Of this error gunicorn prints the message only, without a stack trace.
            raise AppImportError(f"Error: {error.detail}") from error
        guard = watchdog.Watchdog(watchdog.seconds_of(settings.environment))
        application.extensions[NAME].database.limit = guard.limit
        stopping = Stopping()
        supervise("watchdog", lambda: guard.run(stopping), stopping)
        return application


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


@click.command("web")
@click.argument("service", type=click.Choice(NAMES))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=WholeNumber(0, 65_535), help="Port; 8001 to 8004 in the order of the services."
)
@click.option(
    "--workers", type=WholeNumber(1), default=1, show_default=True, help="Worker processes."
)
@click.option(
    "--threads",
    type=WholeNumber(1),
    default=16,
    show_default=True,
    help="Threads of each worker process.",
)
def command(service: str, host: str, port: int | None, workers: int, threads: int) -> None:
    """Run the HTTP process of SERVICE with gunicorn.

    It answers requests and records events in its database; `farmgate worker` publishes them. A
    thread gets a request when it has arrived completely, so slow clients hold no thread.
    """
    # Wrong settings are reported here once, not by every worker process.
    settings = Settings.from_environment(service)
    watchdog.seconds_of(settings.environment)
    port = port or port_of(service)
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        folder = settings.data / "metrics" / f"{service}-web-{port}"
        # Files of ended processes would be added to these metrics.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    Server(
        service,
        {
            "bind": addresses.host_and_port(host, port),
            "workers": workers,
            "threads": threads,
            "worker_class": WaitressWorker,
            "proc_name": f"{service}-web",
            "graceful_timeout": 30,
            "loglevel": "warning",
            "pre_fork": pre_fork,
            # Gunicorn sets a umask; its default is 0.
            "umask": PRIVATE,
        },
    ).run()
