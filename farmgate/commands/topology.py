"""`farmgate topology`: exchange, queues and bindings at the broker."""

import os

import click

from farmgate.preparing import declare_topology


@click.command("topology")
@click.option("--prune", is_flag=True, help="Remove bindings that no service asks for any more.")
def command(prune: bool) -> None:
    """Declare exchange, queues, dead-letter queues, the stream and all bindings.

    Run it before a deployment, and with --prune after it. The address is
    FARMGATE_TOPOLOGY_BROKER_URL (a user that may configure), else FARMGATE_BROKER_URL; the
    services' own users may not configure anything.
    """
    for line in declare_topology(os.environ, prune=prune):
        click.echo(line)
