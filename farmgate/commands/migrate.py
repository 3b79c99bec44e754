"""`farmgate migrate`: migrate databases to their newest revision."""

import click

from farmgate.migrating import migrate
from farmgate.printing import echo
from farmgate.services import NAMES
from shared.runtime.config import Settings


@click.command("migrate")
@click.argument("services", nargs=-1, type=click.Choice(NAMES), metavar="[SERVICE]...")
def command(services: tuple[str, ...]) -> None:
    """Migrate the databases of SERVICE (all by default) to their newest revision.

    Safe to repeat, and to run on several machines at the same time.
    """
    for name in services or NAMES:
        echo(f"{name}: revision {migrate(Settings.from_environment(name))}")
