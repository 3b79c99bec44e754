"""`farmgate worker`: the process that handles and publishes one service's events."""

import click

from farmgate.services import NAMES, service_of
from shared.messaging import worker
from shared.runtime.config import Settings


@click.command("worker")
@click.argument("service", type=click.Choice(NAMES))
def command(service: str) -> None:
    """Run the worker process of SERVICE: consumer, relay and timers.

    Several may run: one of each is active, and the others stand by.
    """
    worker.run(service_of(service), Settings.from_environment(service))
