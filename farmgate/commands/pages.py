"""`farmgate pages`: the process of the pages."""

import os
import signal
import sys

import click
from waitress.server import create_server

from farmgate import pages
from farmgate.client import addresses
from farmgate.failures import Failed

#: Answers come from memory; only the start page asks the services.
THREADS = 8


@click.command("pages")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, help="Port.")
def command(host: str, port: int) -> None:
    """Run the HTTP process of the start page and the till.

    It has no data. The pages call the services at their own address, `/api/<service>/`, so a
    gateway stands before both; the start page asks for the services' state where
    FARMGATE_URL or FARMGATE_<SERVICE>_URL say.
    """
    try:
        server = create_server(
            pages.create(addresses(os.environ)), host=host, port=port, threads=THREADS
        )
    except OSError as error:
        raise Failed(f"Port {port} on {host} cannot be used: {error.strerror}.") from error
    # The server ends its loop on SystemExit, after the requests in hand.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server.run()
