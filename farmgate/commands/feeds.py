"""Subcommands of `farmgate integrators` for subscriptions and tokens of partners."""

import os
from typing import Any
from urllib.parse import quote

import click
from rich.table import Table

from farmgate.client import connect
from farmgate.commands.tokens import issue
from farmgate.console import confirm, echo, show_json, show_table
from farmgate.parameters import WholeNumber

JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
PARTNER = click.argument("partner")
#: What an operator may grant; notifications refuses other words.
GRANTS = ("orders", "station_sales", "lots", "company_prices", "cooperative_prices")


@click.command("subscribe")
@PARTNER
@click.option(
    "--events",
    "types",
    multiple=True,
    metavar="PATTERN",
    help="Only these events, such as 'orders.order_*'; may be repeated. By default all events of "
    "the partner's own orders and shipments, and what is granted.",
)
@click.option(
    "--grant",
    "grants",
    multiple=True,
    type=click.Choice(GRANTS),
    help="Also others' orders, station sales, lots, or the prices of companies or cooperatives; "
    "may be repeated.",
)
@click.option("--no-grants", is_flag=True, help="Take back all grants.")
@JSON
def subscribe(
    partner: str, types: tuple[str, ...], grants: tuple[str, ...], no_grants: bool, as_json: bool
) -> None:
    """Subscribe a partner to events, or change its subscription.

    PARTNER is the subject of the tokens with which it orders. It reads its events at
    GET /api/events/v1/events. Without --events or --grant an existing subscription stays as it is.
    """
    if grants and no_grants:
        raise click.UsageError("Give --grant or --no-grants.")
    client = connect(os.environ)
    if grants or no_grants:
        client.put("events", _path(partner, "/grants"), {"grants": list(grants)})
    known = {each["partner"] for each in client.pages("events", "/subscriptions")}
    if types or partner not in known:
        client.put("events", _path(partner), {"types": list(types)})
    shown = client.get("events", _path(partner))
    if as_json:
        show_json(shown)
    else:
        _show(shown)


def _show(subscription: dict[str, Any]) -> None:
    rows = {
        "partner": subscription["partner"],
        "own orders": " ".join(subscription["own_types"]) or "none",
        "all": " ".join(subscription["wide_types"]) or "none",
        "grants": " ".join(subscription["grants"]) or "none",
        "events": f"{subscription['oldest_position']} to {subscription['newest_position']}",
        "since": subscription["created_at"],
    }
    for label, value in rows.items():
        echo(f"{label:<12}{value}")


@click.command("subscriptions")
@JSON
def subscriptions(as_json: bool) -> None:
    """List the partners that are subscribed to events."""
    found = list(connect(os.environ).pages("events", "/subscriptions"))
    if as_json:
        show_json(found)
        return
    if not found:
        echo("There are no subscriptions. Make one: farmgate integrators subscribe PARTNER")
        return
    table = Table("partner", "events", "grants", "newest", "since", box=None)
    for each in found:
        table.add_row(
            each["partner"],
            " ".join(each["types"]) or "default",
            " ".join(each["grants"]),
            str(each["newest_position"]),
            each["created_at"],
        )
    show_table(table)


@click.command("unsubscribe")
@PARTNER
@click.option("--yes", is_flag=True, help="Skip the confirmation.")
def unsubscribe(partner: str, yes: bool) -> None:
    """Remove a partner's subscription with all its events."""
    client = connect(os.environ)
    shown = client.get("events", _path(partner))
    if not yes:
        kept = shown["newest_position"] - shown["oldest_position"] + 1
        confirm(f"This deletes {kept} events that {partner} could still read. Remove?", abort=True)
    client.call("DELETE", "events", _path(partner))
    echo(f"Removed the subscription of {partner}.")


@click.command("log")
@click.argument("partner", required=False)
@click.option("--limit", type=WholeNumber(1, 200), default=50, show_default=True, help="At most.")
@JSON
def log(partner: str | None, limit: int, as_json: bool) -> None:
    """Show what was done to partners' access, newest first."""
    found = connect(os.environ).get("events", "/actions", partner=partner, limit=limit)["items"]
    if as_json:
        show_json(found)
        return
    table = Table("when", "who", "partner", "action", "details", box=None)
    for each in found:
        details = ", ".join(f"{name}: {value}" for name, value in each["details"].items())
        table.add_row(each["done_at"], each["actor"], each["partner"], each["action"], details)
    show_table(table)


@click.command("token")
@PARTNER
@click.option(
    "--days", type=WholeNumber(1), default=30, show_default=True, help="Days until it expires."
)
@click.option("--read-only", is_flag=True, help="It only reads events.")
@JSON
@click.pass_context
def token(context: click.Context, partner: str, days: int, read_only: bool, as_json: bool) -> None:
    """Print a token of a partner: it orders, reads its orders and follows their events.

    `farmgate tokens revoke --subject PARTNER` revokes all tokens of a partner.
    """
    context.invoke(
        issue,
        subject=partner,
        role=None if read_only else "channel",
        scopes=("events:read",) if read_only else (),
        sites=(),
        days=days,
        as_json=as_json,
    )


def _path(partner: str, more: str = "") -> str:
    return f"/subscriptions/{quote(partner, safe='')}{more}"


COMMANDS = (subscribe, subscriptions, unsubscribe, log, token)
