"""`farmgate tokens`: bearer tokens for people and programs."""

import os
from pathlib import Path
from uuid import UUID

import click

from farmgate.client import connect, make_token
from farmgate.console import check_written, echo, echo_json
from farmgate.failures import Failed
from farmgate.groups import Group
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
    """Return a text in its normal form; refuse one without visible characters."""
    normal = normalised(text)
    if not normal:
        raise click.BadParameter("must not be blank.", ctx, param)
    return normal


@click.group("tokens", cls=Group)
def command() -> None:
    """Bearer tokens for people and programs."""


@command.command("issue")
@click.option(
    "--subject",
    required=True,
    callback=_visible,
    help="The token's bearer; for the role buyer, the buyer's id.",
)
@click.option("--role", type=click.Choice(list(ROLES)), help="Grant the scopes of the role.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    help="Grant one scope; may be repeated.",
)
@click.option(
    "--site",
    "sites",
    multiple=True,
    metavar="CODE",
    help="Bind the bearer to a site, given by code or id; may be repeated.",
)
@click.option(
    "--days", type=WholeNumber(1), default=30, show_default=True, help="Days until it expires."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print token, id, subject and scopes as JSON."
)
def issue(
    subject: str,
    role: str | None,
    scopes: tuple[str, ...],
    sites: tuple[str, ...],
    days: int,
    as_json: bool,
) -> None:
    """Print a token signed with this machine's key.

    Send it with every request: Authorization: Bearer TOKEN. `farmgate tokens revoke` revokes it, by
    its subject or by the id that --json prints.
    """
    granted = tuple(dict.fromkeys((*ROLES.get(role or "", ()), *scopes)))
    if not granted:
        raise click.UsageError("Give --role or --scope: a token without scopes allows nothing.")
    if role in BOUND_TO_SITES and not sites:
        raise click.UsageError(f"Give --site: a {role} belongs to a site.")
    longest = _settings().token_days
    if days > longest:
        raise click.BadParameter(
            f"{days} is more than the longest lifetime of a token, {longest} "
            "(FARMGATE_TOKEN_DAYS).",
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
        echo_json(shown)
    else:
        echo(token)
    check_written()


@command.command("revoke")
@click.option("--id", "token_ids", multiple=True, type=click.UUID, help="One token, by its id.")
@click.option("--subject", "subjects", multiple=True, help="All tokens issued to a subject so far.")
def revoke(token_ids: tuple[UUID, ...], subjects: tuple[str, ...]) -> None:
    """Revoke tokens; each service reads the key set's file and refuses them at the next request.

    Safe to repeat. In a deployment, run it where the key is and copy the key set to the services:
    docs/operations.md. `farmgate devices revoke` revokes the keys of tills.
    """
    if not token_ids and not subjects:
        raise click.UsageError("Give --id or --subject.")
    try:
        keys.revoke(_data(), map(str, token_ids), subjects, _settings().token_days * DAY)
    except (OSError, ValueError) as error:
        raise Failed(
            f"The key set cannot be written: {error}. Run this where tokens are issued (same "
            "FARMGATE_DATA)."
        ) from error
    for token_id in token_ids:
        echo(f"Token {token_id} is revoked.")
    for subject in subjects:
        echo(f"All tokens issued to {subject} so far are revoked.")


def _data() -> Path:
    return Path(read(os.environ, "FARMGATE_DATA", "var"))


def _settings() -> Settings:
    return Settings.from_environment(NAMES[0])


def _site_id(site: str) -> UUID:
    """Return the id of a site, given its id or its code."""
    try:
        return UUID(site)
    except ValueError:
        return UUID(find_site(connect(os.environ), site)["location_id"])
