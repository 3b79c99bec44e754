"""`farmgate refunds`: what payment providers did about refunds, and what they refused."""

import os
from typing import Any

import click
from rich.table import Table

from farmgate.client import connect
from farmgate.console import echo, echo_json, show_json, show_table
from farmgate.groups import Group
from farmgate.stations import moment, yuan

STATES = ("due", "accepted", "done", "refused", "not_called")


@click.group("refunds", cls=Group)
def command() -> None:
    """Refunds that payment providers make; one that a provider refused waits for you.

    Orders asks the provider of the payment, and again until it answers. A refusal has a reason,
    such as too little money on the account: see docs/payments.md.
    """


@command.command("list")
@click.option("--state", type=click.Choice(STATES), help="Only refunds in this state.")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON, amounts in fen.")
def listing(state: str | None, as_json: bool) -> None:
    """List refunds, the newest first."""
    rows = list(connect(os.environ).pages("orders", "/refunds", state=state))
    if as_json:
        show_json(rows)
        return
    if not rows:
        echo("There is no such refund.")
        return
    table = Table(title="Refunds at payment providers (Asia/Shanghai)", title_justify="left")
    for title in ("refund", "order", "decided", "provider", "state"):
        table.add_column(title, no_wrap=True)
    table.add_column("why", overflow="fold")
    table.add_column("amount", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row["refund_id"],
            row["order_ref"],
            moment(row["refunded_at"]),
            row["provider"],
            row["state"],
            row["reason"] or row["cause"],
            yuan(row["amount_fen"]),
        )
    show_table(table)
    if any(row["state"] == "refused" for row in rows):
        echo("Decide about each refused one: farmgate refunds retry REFUND (or settle)")


@command.command("retry")
@click.argument("refund", type=click.UUID)
@click.option("--json", "as_json", is_flag=True, help="Print the refund as JSON.")
def retry(refund: Any, as_json: bool) -> None:
    """Ask the provider again for REFUND (its id), which it refused. Safe to repeat."""
    _decide(f"/refunds/{refund}/retry", as_json, "is asked for again within seconds")


@command.command("settle")
@click.argument("refund", type=click.UUID)
@click.option("--json", "as_json", is_flag=True, help="Print the refund as JSON.")
def settle(refund: Any, as_json: bool) -> None:
    """Record that the money of REFUND, which was refused, went back by bank transfer or cash.

    A refund that you made in the provider's dashboard settles itself: the provider reports it.
    """
    _decide(f"/refunds/{refund}/settle", as_json, "is settled")


def _decide(path: str, as_json: bool, done: str) -> None:
    decided: Any = connect(os.environ).post("orders", path, {})
    if as_json:
        echo_json(decided)
    else:
        echo(f"The refund of {decided['order_ref']}, {yuan(decided['amount_fen'])}, {done}.")
