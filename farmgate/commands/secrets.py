"""`farmgate secrets`: the passwords and keys of a deployment."""

import re
from pathlib import Path

import click

from farmgate import deployment_secrets
from farmgate.deployment_secrets import Servers
from farmgate.parameters import WholeNumber
from farmgate.printing import say


def _places(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, ...]:
    # Set and empty is how docker-compose passes on what nobody sets.
    default = str(parameter.default)
    places = tuple(place.strip() for place in (value or default).split(","))
    for place in places:
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?", place) is None:
            raise click.BadParameter(f"{place!r} is no host, such as db1.lan or 10.0.0.4:5432")
    return places


@click.command("secrets")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--owner",
    type=WholeNumber(0),
    metavar="UID",
    help="Who may read what Farmgate's own containers read; this user when left out.",
)
@click.option(
    "--databases",
    envvar="FARMGATE_DATABASE_HOSTS",
    default="postgres",
    callback=_places,
    metavar="HOST[:PORT],…",
    help="The database server, and its standbys (FARMGATE_DATABASE_HOSTS).",
)
@click.option(
    "--broker",
    envvar="FARMGATE_BROKER_HOST",
    default="rabbitmq",
    callback=_places,
    metavar="HOST[:PORT]",
    help="The broker, or the one name of its cluster (FARMGATE_BROKER_HOST).",
)
def command(
    folder: Path, owner: int | None, databases: tuple[str, ...], broker: tuple[str, ...]
) -> None:
    """Make what is missing of a deployment's passwords and keys, in a folder per container.

    What is there stays. To change a password, remove FOLDER/operator/passwords/NAME, run this
    again, and follow docs/deployment.md, "Change a password".

    Addresses are written anew each time: the servers of this deployment, or those elsewhere.
    """
    if len(broker) > 1:
        raise click.UsageError("--broker is one name, which leads to a living node.")
    made = deployment_secrets.ensure(folder, owner, Servers(databases, broker[0]))
    say(f"Made: {', '.join(made)}." if made else "All secrets are there.")
