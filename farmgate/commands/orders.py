"""`farmgate orders`: orders above the limits on unpaid stock, and an operator's approval."""

import os
from typing import Any

import click
from rich.table import Table

from farmgate.client import connect
from farmgate.console import echo, echo_json, show_json, show_table
from farmgate.groups import Group
from farmgate.stations import moment, yuan
from farmgate.trace import find_order


@click.group("orders", cls=Group)
def command() -> None:
    """Orders that wait for an operator's approval: they exceed a limit on unpaid orders.

    Catalog reserves no stock for them before their approval. The limits are the settings
    FARMGATE_ORDERS_OPEN_… and FARMGATE_ORDERS_CALLER_….
    """


@command.command("waiting")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON, amounts in fen.")
def waiting(as_json: bool) -> None:
    """List the orders that wait for approval, newest first."""
    rows = list(connect(os.environ).pages("orders", "/orders", awaits_approval=True))
    if as_json:
        show_json(rows)
        return
    if not rows:
        echo("No order waits for approval.")
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
    echo("Decide each: farmgate orders approve ORD-… (or decline)")


@command.command("approve")
@click.argument("order")
@click.option("--json", "as_json", is_flag=True, help="Print the order as JSON.")
def approve(order: str, as_json: bool) -> None:
    """Approve ORDER (ORD-…, external_ref or id), so that its stock is reserved. Safe to repeat."""
    _decide(order, "approve", as_json, "is approved; catalog now reserves its stock")


@command.command("decline")
@click.argument("order")
@click.option("--json", "as_json", is_flag=True, help="Print the order as JSON.")
def decline(order: str, as_json: bool) -> None:
    """Decline ORDER (ORD-…, external_ref or id); a payment is refunded. Safe to repeat."""
    _decide(order, "decline", as_json, "is declined; its buyer gets a message")


def _decide(order: str, decision: str, as_json: bool, done: str) -> None:
    client = connect(os.environ)
    decided: Any = client.post("orders", f"/orders/{find_order(client, order)}/{decision}", {})
    if as_json:
        echo_json(decided)
    else:
        echo(f"{decided['order_ref']} {done}. Follow it: farmgate trace {decided['order_ref']}")
