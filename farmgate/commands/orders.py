"""`farmgate orders`: orders beyond what may be held unpaid, and an operator's word to them."""

import os
from typing import Any

import click
from rich.table import Table

from farmgate.client import connect
from farmgate.console import say, say_json, show_json, show_table
from farmgate.stations import moment, yuan
from farmgate.trace import find_order


@click.group("orders")
def command() -> None:
    """Orders that wait for an operator: they go beyond what may be held unpaid.

    None of their goods is set aside before they are approved. The limits are settings,
    FARMGATE_ORDERS_OPEN_… and FARMGATE_ORDERS_CALLER_….
    """


@command.command("waiting")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON, amounts in fen.")
def waiting(as_json: bool) -> None:
    """List the orders that wait for approval, newest first."""
    rows = list(connect(os.environ).pages("orders", "/orders", awaits_approval=True))
    if as_json:
        show_json(rows)
        return
    if not rows:
        say("No order waits for approval.")
        return
    table = Table(title="Orders that wait for approval (Asia/Shanghai)", title_justify="left")
    for title in ("order", "placed", "telephone", "why"):
        table.add_column(title, no_wrap=True)
    for title in ("buyer", "channel", "payment"):
        table.add_column(title, overflow="fold")
    table.add_column("total", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row["order_ref"],
            moment(row["placed_at"]),
            row["masked_phone"],
            row["approval_reason"],
            row["buyer_id"] or "guest",
            row["channel"],
            row["payment_method"],
            yuan(row["total_fen"]),
        )
    show_table(table)
    say("Decide each: farmgate orders approve ORD-… (or decline)")


@command.command("approve")
@click.argument("order")
@click.option("--json", "as_json", is_flag=True, help="Print the order as JSON.")
def approve(order: str, as_json: bool) -> None:
    """Let ORDER (ORD-… or its id) ask for its stock. May be repeated."""
    _decide(order, "approve", as_json, "is approved and asks for its stock")


@command.command("decline")
@click.argument("order")
@click.option("--json", "as_json", is_flag=True, help="Print the order as JSON.")
def decline(order: str, as_json: bool) -> None:
    """Reject ORDER (ORD-… or its id); what was paid is refunded. May be repeated."""
    _decide(order, "decline", as_json, "is declined; its buyer is told")


def _decide(order: str, word: str, as_json: bool, done: str) -> None:
    client = connect(os.environ)
    decided: Any = client.post("orders", f"/orders/{find_order(client, order)}/{word}", {})
    if as_json:
        say_json(decided)
    else:
        say(f"{decided['order_ref']} {done}. See its way: farmgate trace {decided['order_ref']}")
