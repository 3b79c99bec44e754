"""`farmgate secrets`: the passwords and keys of a deployment."""

from pathlib import Path

import click

from farmgate import deployment_secrets


@click.command("secrets")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--owner",
    type=click.IntRange(0),
    metavar="UID",
    help="Who may read what Farmgate's own containers read; this user when left out.",
)
def command(folder: Path, owner: int | None) -> None:
    """Make what is missing of a deployment's passwords and keys, in a folder per container.

    What is there stays. To change a password, remove FOLDER/operator/passwords/NAME, run this
    again, and follow docs/deployment.md, "Change a password".
    """
    made = deployment_secrets.ensure(folder, owner)
    click.echo(f"Made: {', '.join(made)}." if made else "All secrets are there.")
