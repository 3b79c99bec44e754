"""`farmgate cash`: the cash that stations' clerks hold for the centre."""

import os
from typing import Any

import click
from rich.table import Table

from farmgate.client import Client, connect
from farmgate.console import echo, echo_json, show_json, show_table
from farmgate.failures import Failed, Refused
from farmgate.groups import Group
from farmgate.parameters import ANOTHER, Yuan
from farmgate.stations import find_site, moment, site_codes, yuan


@click.group("cash", cls=Group)
def command() -> None:
    """The cash that stations' clerks hold for the centre, and their remittances.

    A clerk owes the centre the cash that they take, until they remit it. Sender and receiver both
    count a remittance.
    """


@command.command("custody")
@click.option("--site", "site_code", help="Only this site.")
@click.option("--clerk", help="Only this clerk.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, amounts in fen.")
def custody(site_code: str | None, clerk: str | None, as_json: bool) -> None:
    """Show each clerk's cash: collected, refunded, remitted, written off, and held."""
    client = connect(os.environ)
    query = _site(client, site_code) | ({"clerk": clerk} if clerk else {})
    rows = list(client.pages("orders", "/cash/custody", **query))
    if as_json:
        show_json(rows)
        return
    sites = site_codes(client)
    table = Table(title="Cash in custody", title_justify="left")
    table.add_column("site", no_wrap=True)
    table.add_column("clerk")
    names = ("collected", "refunded", "remitted", "written_off", "held")
    for name in names:
        table.add_column(name.replace("_", " "), justify="right", no_wrap=True)
    for row in rows:
        amounts = [yuan(row[f"{name}_fen"]) for name in names]
        table.add_row(sites.get(row["site_id"], "?"), row["clerk"], *amounts)
    table.add_section()
    totals = [yuan(sum(row[f"{name}_fen"] for row in rows)) for name in names]
    table.add_row("all", "", *totals)
    show_table(table)


@command.command("shifts")
@click.option("--site", "site_code", help="Only this site.")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON, amounts in fen.")
def shifts(site_code: str | None, as_json: bool) -> None:
    """Show the shifts, newest first: expected and counted cash in the drawer."""
    client = connect(os.environ)
    rows = list(client.pages("orders", "/cash/shifts", **_site(client, site_code)))
    if as_json:
        show_json(rows)
        return
    table = Table(title="Shifts (times by the device's clock)", title_justify="left")
    for title in ("device", "clerk", "opened", "closed"):
        table.add_column(title, no_wrap=True)
    for title in ("float", "expected", "counted", "difference"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row["device_code"],
            row["clerk"],
            moment(row["opened_at"]),
            moment(row["closed_at"]) if row["closed_at"] else "open",
            *(
                "–" if row[name] is None else yuan(row[name])
                for name in ("float_fen", "expected_fen", "counted_fen", "difference_fen")
            ),
        )
    show_table(table)


ACCEPT_SHORTAGE = click.option(
    "--accept-shortage",
    is_flag=True,
    help="Accept a clerk who holds less or is unknown: their sales may not be uploaded yet.",
)


@command.command("remit")
@click.argument("site_code")
@click.argument("clerk")
@click.argument("sent", type=Yuan())
@click.argument("counted", type=Yuan())
@click.option("--reason", help="Required if the two counts differ.")
@ACCEPT_SHORTAGE
@ANOTHER
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, amounts in fen.")
def remit(
    site_code: str,
    clerk: str,
    sent: int,
    counted: int,
    reason: str | None,
    accept_shortage: bool,
    another: str | None,
    as_json: bool,
) -> None:
    """Record a remittance of CLERK: SENT by the clerk's count, COUNTED by the receiver's.

    Amounts are in yuan. A difference needs a reason and is written off under the clerk's name. A
    repeated command within 24 hours books nothing and says so; --another books a second one.
    """
    body = {
        "clerk": clerk,
        "sent_fen": sent,
        "counted_fen": counted,
        "reason": reason,
        "accept_shortage": accept_shortage,
    }
    _book("/cash/remittances", site_code, body, another, as_json, f"{yuan(sent)} remitted")


@command.command("write-off")
@click.argument("site_code")
@click.argument("clerk")
@click.argument("amount", type=Yuan())
@click.option("--reason", required=True, help="Why, in a few words; it is stored.")
@ACCEPT_SHORTAGE
@ANOTHER
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, amounts in fen.")
def write_off(
    site_code: str,
    clerk: str,
    amount: int,
    reason: str,
    accept_shortage: bool,
    another: str | None,
    as_json: bool,
) -> None:
    """Write off AMOUNT (yuan) that CLERK should hold and does not.

    A repeated command within 24 hours books nothing and says so; --another books a second one.
    """
    body = {
        "clerk": clerk,
        "amount_fen": amount,
        "reason": reason,
        "accept_shortage": accept_shortage,
    }
    _book("/cash/write-offs", site_code, body, another, as_json, f"{yuan(amount)} written off")


def _site(client: Client, site_code: str | None) -> dict[str, Any]:
    return {} if site_code is None else {"site_id": find_site(client, site_code)["location_id"]}


def _book(
    path: str,
    site_code: str,
    body: dict[str, Any],
    another: str | None,
    as_json: bool,
    done: str,
) -> None:
    client = connect(os.environ)
    site = {"site_id": find_site(client, site_code)["location_id"]}
    try:
        answer, was_done = client.post_once("orders", path, site | body, another)
    except Refused as error:
        if error.kind in ("unknown-clerk", "custody-holds-less"):
            raise Failed(
                f"{error.message} The option is --accept-shortage. See each clerk's cash: farmgate "
                "cash custody"
            ) from error
        raise
    if as_json:
        echo_json(answer | {"was_done_before": was_done})
    elif was_done:
        at = moment(answer.get("remitted_at") or answer["at"])
        echo(
            f"Nothing was booked again: {done} at {at} already. To book a second one: "
            "--another TEXT"
        )
    else:
        echo(f"{done}. See each clerk's cash: farmgate cash custody")
