"""`farmgate web`: the HTTP process of one service."""

import os
import shutil
import signal
from typing import Any

import click

from farmgate.http_server import HttpServer
from farmgate.parameters import WholeNumber
from farmgate.services import NAMES, application_of, port_of
from shared.runtime import addresses, collector, watchdog
from shared.runtime.config import Settings
from shared.runtime.supervision import Stopping, supervise

#: Seconds to finish running requests after a signal.
GRACE = 30


def application(service: str) -> Any:
    """Return a service's application with a watchdog, which ends a process whose database hangs.

    Raises:
        Misconfigured: a setting is missing or malformed.
    """
    from shared.web.state import NAME  # imports Flask, which gunicorn's parent does not need

    settings = Settings.from_environment(service)
    created = application_of(service)(settings)
    guard = watchdog.Watchdog(watchdog.seconds_of(settings.environment))
    created.extensions[NAME].database.limit = guard.limit
    stopping = Stopping()
    supervise("watchdog", lambda: guard.run(stopping), stopping)
    return created


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
    """Run the HTTP process of SERVICE.

    It answers requests and records events in its database; `farmgate worker` publishes them. A
    thread gets a request when it has arrived completely, so slow clients hold no thread.

    With several worker processes, a parent process (gunicorn) starts those again that end.
    """
    port = port or port_of(service)
    _collect_metrics(service, port)
    if workers == 1:
        _serve(service, host, port, threads)
    else:
        # Takes memory that the others need not.
        from farmgate import web_workers

        web_workers.run(service, addresses.host_and_port(host, port), workers, threads, GRACE)


def _collect_metrics(service: str, port: int) -> None:
    """Give the metrics a folder of their own."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        data = Settings.from_environment(service).data
        folder = data / "metrics" / f"{service}-web-{port}"
        # Files of ended processes would be added to these metrics.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)


def _serve(service: str, host: str, port: int, threads: int) -> None:
    """Answer in this process until a signal comes; then finish running requests."""
    server = HttpServer(application(service), host, port, threads)
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.stop())
    collector.settle()
    server.run(grace=GRACE)
