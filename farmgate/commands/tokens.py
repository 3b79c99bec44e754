"""`farmgate tokens`: bearer tokens for people and programs."""

import os
from pathlib import Path

import click

from farmgate.client import make_token
from farmgate.console import say, say_json
from farmgate.roles import ROLES, SCOPES
from farmgate.typed import Whole
from shared import keys
from shared.config import read

DAY = 24 * 3600


@click.group("tokens")
def command() -> None:
    """Bearer tokens for people and programs."""


@command.command("issue")
@click.option("--subject", required=True, help="Who bears it; a buyer's own id for role buyer.")
@click.option("--role", type=click.Choice(list(ROLES)), help="Gives the scopes of the role.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    help="Gives one scope; may be repeated.",
)
@click.option("--days", type=Whole(1, 3650), default=30, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print subject, scopes and token as JSON.")
def issue(
    subject: str, role: str | None, scopes: tuple[str, ...], days: int, as_json: bool
) -> None:
    """Print a token signed with this machine's key.

    Give it with every request: Authorization: Bearer TOKEN. A token cannot be taken back
    before its days are over, so give few scopes and few days.
    """
    granted = tuple(dict.fromkeys((*ROLES.get(role or "", ()), *scopes)))
    if not granted:
        raise click.UsageError("Give --role or --scope: a token without scopes opens nothing.")
    keys.ensure(Path(read(os.environ, "FARMGATE_DATA", "var")))
    token = make_token(os.environ, subject, granted, days * DAY)
    if as_json:
        say_json({"subject": subject, "scopes": granted, "token": token})
    else:
        say(token)
