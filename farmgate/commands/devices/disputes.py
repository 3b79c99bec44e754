"""Disputed and flagged entries of tills: list, settle, acknowledge, correct; and import a file."""

import os
from collections.abc import Iterator
from functools import reduce
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import click
from rich.table import Table

from farmgate.client import connect
from farmgate.console import WRONG, echo, echo_json, show_json, show_table
from farmgate.failures import Failed
from farmgate.parameters import WholeNumber, json_value
from farmgate.stations import find_device, moment, yuan
from shared.runtime import strict_json

#: Entries per request; the limit of orders.
MOST_ENTRIES = 500


@click.command("disputes")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def list_disputes(as_json: bool) -> None:
    """List open disputes, with the command that closes each.

    Use `farmgate devices settle` for a sale beyond its device's allotment, `farmgate devices
    correct` for an unreadable entry, and `farmgate devices acknowledge` for the rest (voids,
    returns, parcels).
    """
    client = connect(os.environ)
    entries = list(client.pages("orders", "/station-sales", status="disputed"))
    overdrafts = {
        each["sale_id"]: each for each in client.pages("catalog", "/overdrafts", open=True)
    }
    if as_json:
        found = {"entries": entries, "overdrafts": list(overdrafts.values())}
        show_json(found)
        return
    if not entries and not overdrafts:
        echo("Nothing is disputed.")
        return
    table = Table(title="Disputed (times by the device's clock)", title_justify="left", padding=0)
    # Never cut: the next command needs it.
    table.add_column("id", no_wrap=True, min_width=36)
    for title in ("device, epoch, number", "kind", "when", "amount", "why", "next"):
        table.add_column(title, overflow="fold")
    for entry in entries:
        overdraft = overdrafts.pop(entry["sale_id"], None)
        table.add_row(
            entry["sale_id"],
            f"{entry['device_code']} {entry['epoch']} #{entry['number']}",
            entry["kind"],
            moment(entry["device_time"]) if entry["device_time"] else "?",
            "" if entry["total_fen"] is None else yuan(entry["total_fen"]),
            entry["reason"] or "",
            "settle" if overdraft else _next(entry),
        )
    for overdraft in overdrafts.values():
        # The entry has not reached orders yet, or a restore lost it.
        table.add_row(
            overdraft["sale_id"],
            f"{overdraft['epoch']} #{overdraft['number']}",
            "sale",
            moment(overdraft["opened_at"]),
            "",
            overdraft["reason"],
            "settle",
        )
    show_table(table)


def _next(entry: dict[str, Any]) -> str:
    return "correct" if entry["reason"] == "unreadable" else "acknowledge"


@click.command("flagged")
@click.option(
    "--most",
    type=WholeNumber(1),
    default=50,
    show_default=True,
    help="Number of newest entries.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def list_flagged(most: int, as_json: bool) -> None:
    """List valid but unusual entries, newest first: prices, clocks, refunds, names, telephones.

    Use `farmgate devices correct` for an unclear clerk's name or buyer's contact. The other flags
    are for information.
    """
    pages = connect(os.environ).pages("orders", "/station-sales", flagged=True)
    entries = list(islice(pages, most))
    if as_json:
        show_json(entries)
        return
    if not entries:
        echo("Nothing is flagged.")
        return
    table = Table(title="Flagged (times by the device's clock)", title_justify="left", padding=0)
    table.add_column("id", no_wrap=True, min_width=36)
    for title in ("device, epoch, number", "kind", "when", "clerk", "amount", "flags"):
        table.add_column(title, overflow="fold")
    for entry in entries:
        table.add_row(
            entry["sale_id"],
            f"{entry['device_code']} {entry['epoch']} #{entry['number']}",
            entry["kind"],
            moment(entry["device_time"]) if entry["device_time"] else "?",
            entry["clerk"] or "?",
            "" if entry["total_fen"] is None else yuan(entry["total_fen"]),
            " ".join(entry["flags"]),
        )
    show_table(table)


@click.command("settle")
@click.argument("sale", type=click.UUID)
@click.argument("resolution", type=click.Choice(["cover", "lose"]))
@click.option("--reason", required=True, help="Why, in a few words; it is stored.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def settle(sale: UUID, resolution: str, reason: str, as_json: bool) -> None:
    """Settle the disputed SALE (its id, from `farmgate devices disputes`).

    cover: the goods are taken from the device's remaining allotment, from the site's free stock, or
    from the centre's. lose: no stock moves; the centre bears the loss.
    """
    body = {"resolution": resolution, "reason": reason}
    settled = connect(os.environ).post("catalog", f"/overdrafts/{sale}/settle", body)
    if as_json:
        echo_json(settled)
    else:
        echo(f"Sale {sale} is {settled['status']}; orders gets this within seconds.")


@click.command("acknowledge")
@click.argument("entry", type=click.UUID)
@click.option("--note", required=True, help="The result of your inquiry; it is stored.")
@click.option("--book-cash", is_flag=True, help="Book the refund: the money was given back.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def acknowledge(entry: UUID, note: str, book_cash: bool, as_json: bool) -> None:
    """Close a disputed ENTRY that concerns no stock: a void, a return, a parcel, an order.

    With --book-cash, the refund of a void or return leaves the clerk's custody; it is refused if
    there is nothing to book. Without it, neither goods nor money are booked.
    """
    body = {"note": note, "book_cash": book_cash}
    done = connect(os.environ).post("orders", f"/station-sales/{entry}/acknowledge", body)
    if as_json:
        echo_json(done)
    else:
        booked = (
            f"A refund of {yuan(done['total_fen'])} was booked out of {done['clerk']}'s custody."
            if done["resolution"] == "cash_booked"
            else "Neither goods nor money were booked."
        )
        echo(f"Entry {entry} is {done['status']}. {booked}")


class Change(click.ParamType):
    """A field of an entry and its new value: NAME=TEXT or NAME:=JSON, with dots for nesting."""

    name = "change"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, Any]:
        """Return the change as a JSON merge patch."""
        name, sign, text = str(value).partition("=")
        if not sign or not name.removesuffix(":"):
            self.fail(
                f"{value!r} is no change: write clerk=卓嘎, or shift:=12 for JSON.", param, ctx
            )
        changed: Any = text
        if name.endswith(":"):
            try:
                changed = json_value(text)
            except ValueError:
                self.fail(f"{text!r} is no JSON; for a text write NAME=TEXT.", param, ctx)
        for step in reversed(name.removesuffix(":").split(".")):
            changed = {step: changed}
        return dict(changed)


@click.command("correct")
@click.argument("entry", type=click.UUID)
@click.argument("changes", type=Change(), nargs=-1, required=True)
@click.option("--note", required=True, help="Where the correction comes from; it is stored.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def correct(entry: UUID, changes: tuple[dict[str, Any], ...], note: str, as_json: bool) -> None:
    """Correct fields of an unreadable ENTRY and book it, or correct a flagged name or contact.

    \b
      farmgate devices correct ENTRY shift:=12 colour:=null --note "asked the clerk"
      farmgate devices correct ENTRY clerk=卓嘎 --note "asked the clerk"
      farmgate devices correct ENTRY order.contact.name=卓玛 \\
        order.contact.phone=13800138000 order.contact.address=巴河镇1号 --note "the clerk knew"

    NAME=TEXT sets a text, NAME:=JSON another value; null removes a field. A clerk's name changes
    in all entries of the shift whose name is unclear, with their cash. Give all fields of an
    order's contact.
    """
    body = {"changes": reduce(_merged, changes), "note": note}
    done = connect(os.environ).post("orders", f"/station-sales/{entry}/correct", body)
    if as_json:
        echo_json(done)
        return
    money = "" if done["total_fen"] is None else f" of {yuan(done['total_fen'])}"
    why = f" ({done['reason']})" if done["reason"] else ""
    echo(f"The {done['kind']}{money} of {done['clerk']} is {done['status']}{why}.")


def _merged(before: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    both = before | change
    for name in before.keys() & change.keys():
        if isinstance(before[name], dict) and isinstance(change[name], dict):
            both[name] = _merged(before[name], change[name])
    return both


@click.command("import")
@click.argument("code")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the answer to each entry as JSON.")
def import_file(code: str, file: Path, as_json: bool) -> None:
    """Import FILE, which the till of the device CODE exported.

    Use it for a device that is revoked or has no connection. Entries that were uploaded before
    count once. Safe to repeat.

    Exit code 1: some entries were refused; each is listed.
    """
    client = connect(os.environ)
    device = find_device(client, code)
    answers: list[dict[str, Any]] = []
    for body in _parts(file, device):
        answers += client.post("orders", "/station-sales/import", body)["answers"]
    if as_json:
        echo_json(answers, indent=2)
    else:
        _show_answers(file, answers)
    if any(answer["status"] == "refused" for answer in answers):
        raise SystemExit(1)


def _parts(file: Path, device: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield request bodies, each with at most MOST_ENTRIES entries of one epoch.

    Raises:
        Failed: the file is not from a till, or from another device.
    """
    try:
        exported = strict_json.read_flawed(file.read_bytes())
    except (OSError, ValueError) as error:
        raise Failed(f"{file} cannot be read: {error}. Export it at the till once more.") from error
    journals = exported.get("journals", [exported]) if isinstance(exported, dict) else exported
    try:
        for journal in journals:
            name = {"device_id": journal["device_id"], "epoch": journal["epoch"]}
            if name["device_id"] != device["device_id"]:
                raise Failed(
                    f"{file} is from another device ({name['device_id']}), not {device['code']}; "
                    "farmgate devices list --json shows the ids."
                )
            entries = journal["entries"]
            for begin in range(0, len(entries), MOST_ENTRIES):
                yield name | {"entries": entries[begin : begin + MOST_ENTRIES]}
    except (KeyError, TypeError) as error:
        raise Failed(
            f"{file} is not from a till: it has no {error}. Export the file with the till's export "
            "button."
        ) from error


def _show_answers(file: Path, answers: list[dict[str, Any]]) -> None:
    counts: dict[str, int] = {}
    for answer in answers:
        counts[answer["status"]] = counts.get(answer["status"], 0) + 1
    summary = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    echo(f"{file}: {summary or 'no entries'}.")
    for answer in answers:
        if answer["status"] in ("disputed", "refused"):
            detail = answer["detail"] or answer["reason"] or ""
            echo(WRONG, f" entry {answer['number']}: {answer['status']}, {detail}")
    if counts.get("disputed"):
        echo("See the disputes: farmgate devices disputes")
