"""What tills said and cannot be right: shown, decided, or brought in from a till's file."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from farmgate.client import connect
from farmgate.console import WRONG, say, say_json, show_json, show_table
from farmgate.failures import Failed
from farmgate.stations import find_device, moment, yuan

#: Entries sent in one request; what orders takes.
MOST_ENTRIES = 500


@click.command("disputes")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def list_disputes(as_json: bool) -> None:
    """List what is disputed and not decided.

    A sale beyond what its device was granted waits for `farmgate devices settle`; everything
    else (voids, returns, parcels, unreadable entries) for `farmgate devices acknowledge`.
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
        say("Nothing is disputed.")
        return
    table = Table(title="Disputed (times by the device's clock)", title_justify="left", padding=0)
    # Whole: it is what the next command takes.
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
            "settle" if overdraft else "acknowledge",
        )
    for overdraft in overdrafts.values():
        # Orders has not heard of it yet, or has forgotten it.
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


@click.command("settle")
@click.argument("sale")
@click.argument("resolution", type=click.Choice(["cover", "lose"]))
@click.option("--reason", required=True, help="Why, in a few words; it is kept.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def settle(sale: str, resolution: str, reason: str, as_json: bool) -> None:
    """Decide the disputed SALE (its id, from `farmgate devices disputes`).

    cover: the goods are taken from what the device has left, from the site's free stock, or
    from the centre's. lose: no stock moves; the centre bears the loss.
    """
    body = {"resolution": resolution, "reason": reason}
    settled = connect(os.environ).post("catalog", f"/overdrafts/{sale}/settle", body)
    if as_json:
        say_json(settled)
    else:
        say(f"Sale {sale} is {settled['status']}; orders hears of it within seconds.")


@click.command("acknowledge")
@click.argument("entry")
@click.option("--note", required=True, help="What was found out; it is kept.")
@click.option("--book-cash", is_flag=True, help="The money did move: book it to the clerk.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def acknowledge(entry: str, note: str, book_cash: bool, as_json: bool) -> None:
    """Close a disputed ENTRY that concerns no stock: a void, a return, a parcel, an order."""
    body = {"note": note, "book_cash": book_cash}
    done = connect(os.environ).post("orders", f"/station-sales/{entry}/acknowledge", body)
    if as_json:
        say_json(done)
    else:
        say(f"Entry {entry} is {done['status']}.")


@click.command("import")
@click.argument("code")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the answer to each entry as JSON.")
def import_file(code: str, file: Path, as_json: bool) -> None:
    """Bring in FILE, which the till of the device CODE exported.

    For a device without a link, or revoked: it needs neither link nor key. Entries that were
    uploaded before count once. Safe to repeat.

    Exit code 1: some entries could not be kept; each is named.
    """
    client = connect(os.environ)
    device = find_device(client, code)
    answers: list[dict[str, Any]] = []
    for body in _parts(file, device):
        answers += client.post("orders", "/station-sales/import", body)["answers"]
    if as_json:
        say_json(answers, indent=2)
    else:
        _show_answers(file, answers)
    if any(answer["status"] == "refused" for answer in answers):
        raise SystemExit(1)


def _parts(file: Path, device: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return the bodies to send: entries of one epoch each, not too many.

    Raises:
        Failed: it is no file of a till, or of another device's.
    """
    try:
        exported = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Failed(f"{file} cannot be read: {error}. Export it at the till once more.") from error
    journals = exported.get("journals", [exported]) if isinstance(exported, dict) else exported
    try:
        for journal in journals:
            name = {"device_id": journal["device_id"], "epoch": journal["epoch"]}
            if name["device_id"] != device["device_id"]:
                raise Failed(
                    f"{file} is of another device ({name['device_id']}), not of {device['code']}; "
                    "farmgate devices list --json shows the ids."
                )
            entries = journal["entries"]
            for begin in range(0, len(entries), MOST_ENTRIES):
                yield name | {"entries": entries[begin : begin + MOST_ENTRIES]}
    except (KeyError, TypeError) as error:
        raise Failed(
            f"{file} is no file of a till: it has no {error}. A till writes one by its button "
            "for export."
        ) from error


def _show_answers(file: Path, answers: list[dict[str, Any]]) -> None:
    counts: dict[str, int] = {}
    for answer in answers:
        counts[answer["status"]] = counts.get(answer["status"], 0) + 1
    said = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    say(f"{file}: {said or 'no entries'}.")
    for answer in answers:
        if answer["status"] in ("disputed", "refused"):
            detail = answer["detail"] or answer["reason"] or ""
            say(WRONG, f" entry {answer['number']}: {answer['status']}, {detail}")
    if counts.get("disputed"):
        say("Decide what is disputed: farmgate devices disputes")
