"""`farmgate pages`: the HTTP process of the start page and the till."""

import os
import signal

import click

from farmgate import pages
from farmgate.client import addresses
from farmgate.http_server import HttpServer
from farmgate.parameters import WholeNumber

#: Few are enough: answers come from memory, and only the start page calls the services.
THREADS = 8


@click.command("pages")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=WholeNumber(0, 65_535), default=8000, show_default=True, help="Port.")
def command(host: str, port: int) -> None:
    """Run the HTTP process of the start page and the till.

    It stores no data. The pages call the services at their own origin, `/api/<service>/`, so run
    it behind a gateway that routes both. The start page reads the services' state at FARMGATE_URL
    or FARMGATE_<SERVICE>_URL.
    """
    server = HttpServer(pages.create(addresses(os.environ)), host, port, THREADS)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.stop())
    server.run()
