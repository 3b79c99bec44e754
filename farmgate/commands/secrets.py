"""`farmgate secrets`: the passwords and keys of a deployment."""

import re
from pathlib import Path

import click

from farmgate import deployment_secrets
from farmgate.deployment_secrets import Servers
from farmgate.parameters import WholeNumber
from farmgate.printing import echo


def _hosts(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, ...]:
    # docker-compose passes an unset variable as an empty one.
    default = str(parameter.default)
    hosts = tuple(host.strip() for host in (value or default).split(","))
    for host in hosts:
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?", host) is None:
            raise click.BadParameter(f"{host!r} is no host, such as db1.lan or 10.0.0.4:5432")
    return hosts


@click.command("secrets")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--owner",
    type=WholeNumber(0),
    metavar="UID",
    help="User id of Farmgate's containers, the owner of their files; this user by default.",
)
@click.option(
    "--databases",
    envvar="FARMGATE_DATABASE_HOSTS",
    default="postgres",
    callback=_hosts,
    metavar="HOST[:PORT],…",
    help="The database server, and its standbys (FARMGATE_DATABASE_HOSTS).",
)
@click.option(
    "--broker",
    envvar="FARMGATE_BROKER_HOST",
    default="rabbitmq",
    callback=_hosts,
    metavar="HOST[:PORT]",
    help="The broker, or the one name of its cluster (FARMGATE_BROKER_HOST).",
)
def command(
    folder: Path, owner: int | None, databases: tuple[str, ...], broker: tuple[str, ...]
) -> None:
    """Generate a deployment's missing passwords and keys, in one folder per container.

    Existing ones stay. To change a password, remove FOLDER/operator/passwords/NAME, run this
    again, and follow docs/deployment.md, "Change a password".

    The URLs of database and broker are rewritten each time.
    """
    if len(broker) > 1:
        raise click.UsageError("--broker takes one name, which must lead to a running node.")
    made = deployment_secrets.ensure(folder, owner, Servers(databases, broker[0]))
    echo(f"Generated: {', '.join(made)}." if made else "All secrets exist already.")
