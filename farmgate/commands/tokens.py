"""`farmgate tokens`: bearer tokens for people and programs."""

import os
from pathlib import Path
from uuid import UUID

import click

from farmgate.client import connect, make_token
from farmgate.console import check_written, say, say_json
from farmgate.failures import Failed
from farmgate.parameters import WholeNumber
from farmgate.roles import BOUND_TO_SITES, ROLES, SCOPES
from farmgate.services import NAMES
from farmgate.stations import find_site
from shared.runtime import keys
from shared.runtime.config import Settings, read
from shared.runtime.ids import new_id
from shared.runtime.text import normalised

DAY = 24 * 3600


def _visible(ctx: click.Context, param: click.Parameter, text: str) -> str:
    """Return a text as it is kept everywhere; refuse one of which nothing would be seen."""
    kept = normalised(text)
    if not kept:
        raise click.BadParameter("must not be blank.", ctx, param)
    return kept


@click.group("tokens")
def command() -> None:
    """Bearer tokens for people and programs."""


@command.command("issue")
@click.option(
    "--subject",
    required=True,
    callback=_visible,
    help="Who bears it; a buyer's own id for role buyer.",
)
@click.option("--role", type=click.Choice(list(ROLES)), help="Gives the scopes of the role.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    help="Gives one scope; may be repeated.",
)
@click.option(
    "--site",
    "sites",
    multiple=True,
    metavar="CODE",
    help="Binds the bearer to a site, by its code or id; may be repeated.",
)
@click.option("--days", type=WholeNumber(1), default=30, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print token, id and the rest as JSON.")
def issue(
    subject: str,
    role: str | None,
    scopes: tuple[str, ...],
    sites: tuple[str, ...],
    days: int,
    as_json: bool,
) -> None:
    """Print a token signed with this machine's key.

    Give it with every request: Authorization: Bearer TOKEN. `farmgate tokens revoke` takes it back,
    by its subject or by the id that --json prints.
    """
    granted = tuple(dict.fromkeys((*ROLES.get(role or "", ()), *scopes)))
    if not granted:
        raise click.UsageError("Give --role or --scope: a token without scopes opens nothing.")
    if role in BOUND_TO_SITES and not sites:
        raise click.UsageError(f"Give --site: a {role} belongs to a site.")
    longest = _settings().token_days
    if days > longest:
        raise click.BadParameter(
            f"{days} is more than a token may live here, {longest} (FARMGATE_TOKEN_DAYS).",
            param_hint="--days",
        )
    keys.ensure(_data())
    site_ids = [_site_id(site) for site in sites] if sites else None
    token_id = new_id()
    token = make_token(
        os.environ, subject, granted, days * DAY, site_ids=site_ids, token_id=token_id
    )
    if as_json:
        shown = {"subject": subject, "scopes": granted, "id": str(token_id), "token": token}
        if site_ids is not None:
            shown["site_ids"] = [str(site_id) for site_id in site_ids]
        say_json(shown)
    else:
        say(token)
    check_written()


@command.command("revoke")
@click.option("--id", "token_ids", multiple=True, type=click.UUID, help="One token, by its id.")
@click.option(
    "--subject", "subjects", multiple=True, help="All tokens of a subject that were issued so far."
)
def revoke(token_ids: tuple[UUID, ...], subjects: tuple[str, ...]) -> None:
    """Let tokens count no more; the key set's file says so to each service at its next request.

    It can be repeated. In a deployment, run it where the key is made and hand it on:
    docs/operations.md. The keys of tills are taken back by `farmgate devices revoke`.
    """
    if not token_ids and not subjects:
        raise click.UsageError("Give --id or --subject.")
    try:
        keys.revoke(_data(), map(str, token_ids), subjects, _settings().token_days * DAY)
    except (OSError, ValueError) as error:
        raise Failed(
            f"The key set cannot be changed: {error}. Run this where tokens are issued (same "
            "FARMGATE_DATA)."
        ) from error
    for token_id in token_ids:
        say(f"Token {token_id} counts no more.")
    for subject in subjects:
        say(f"Tokens of {subject} that were issued so far count no more.")


def _data() -> Path:
    return Path(read(os.environ, "FARMGATE_DATA", "var"))


def _settings() -> Settings:
    return Settings.from_environment(NAMES[0])


def _site_id(site: str) -> UUID:
    """Return the id of a site that is named by its id or its code."""
    try:
        return UUID(site)
    except ValueError:
        return UUID(find_site(connect(os.environ), site)["location_id"])
