"""`farmgate up`: all four services on this machine."""

import os
import signal
import threading
from pathlib import Path

import click

from demo.sample import loading
from farmgate import embedded, supervised
from farmgate.client import connect
from farmgate.parameters import WholeNumber
from farmgate.printing import echo
from farmgate.services import NAMES, PORT
from shared.runtime.config import Settings, read
from shared.runtime.supervision import Stopping


@click.command("up")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=WholeNumber(0, 65_535),
    default=PORT,
    show_default=True,
    help="Port of the start page and the API; with a broker, the services' APIs have the next "
    "four ports.",
)
@click.option("--sample", is_flag=True, help="Load the sample data; existing data stays.")
@click.option(
    "--hold",
    type=WholeNumber(1),
    metavar="SECONDS",
    help="How long an unpaid prepaid order keeps its stock (FARMGATE_ORDERS_HOLD_SECONDS, "
    "else 900). With a short time, `farmgate demo` shows orders that expire.",
)
@click.option(
    "--workers",
    type=WholeNumber(1),
    default=1,
    show_default=True,
    help="Worker processes of each web server; only with a broker.",
)
def command(host: str, port: int, sample: bool, hold: int | None, workers: int) -> None:
    """Run all four services on this machine, until Ctrl-C.

    Without a broker, all services run in one process: SQLite databases, keys and logs are in
    FARMGATE_DATA (`var`), API and start page on one port. A restart keeps the data.

    With FARMGATE_BROKER_URL (and PostgreSQL databases in FARMGATE_<SERVICE>_DATABASE_URL), each
    service gets a web process, on ports 8001 to 8004, and a worker process; a process that ends is
    restarted. Databases are migrated and the topology is declared first. Logs are in
    FARMGATE_DATA/logs.

    run.json in FARMGATE_DATA has the addresses and processes; the other commands read it.
    """
    environment = dict(os.environ)
    if hold is not None:
        environment["FARMGATE_ORDERS_HOLD_SECONDS"] = str(hold)
    stopping = Stopping()
    for number in (signal.SIGTERM, signal.SIGINT):
        # In another thread: the interrupted main thread may hold the lock inside `stopping`.
        signal.signal(number, lambda *_: threading.Thread(target=stopping.set).start())
    data = Path(read(environment, "FARMGATE_DATA", "var"))

    def ready(url: str) -> None:
        echo(f"Farmgate is on {url} (data in {data.resolve()}); Ctrl-C stops it.")
        if sample:
            echo("Loading the sample; another line says when it is ready.")
            threading.Thread(target=_load, args=(environment, url), daemon=True).start()

    if any(Settings.from_environment(name, environment).broker_url for name in NAMES):
        supervised.run(environment, host, port, workers, stopping, ready)
    else:
        embedded.run(environment, host, port, stopping, ready)
    echo("Stopped.")


def _load(environment: dict[str, str], url: str) -> None:
    client = connect(environment, patience=60)
    try:
        counts = loading.load(client)
        loading.await_publication(client)
    except click.ClickException as error:
        echo(f"The sample could not be loaded: {error.message}")
    else:
        echo(f"Sample: {loading.describe(counts)}")
        echo(f"Ready: {url}. Next, in another terminal: farmgate demo   (or `make demo`)")
