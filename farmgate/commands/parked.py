"""`farmgate parked`: show, replay, edit and discard events that a service could not handle."""

import os
from collections.abc import Iterator
from typing import Any, TextIO
from uuid import UUID

import click
from rich.table import Table

from farmgate.client import Client, connect
from farmgate.console import confirm, echo, echo_json, show_json, show_table
from farmgate.failures import Failed, Refused
from farmgate.groups import Group
from farmgate.parameters import json_value
from farmgate.services import NAMES
from farmgate.stations import moment

SERVICE = click.option(
    "--service",
    "services",
    multiple=True,
    type=click.Choice(NAMES),
    help="Only this service; may be repeated.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
#: Characters of an error shown in a table.
SHORT = 70


@click.group("parked", cls=Group)
def command() -> None:
    """Events that a service could not handle: show, replay after a fix, edit, or discard.

    The first event of a subject that fails is parked, and later events of that subject wait behind
    it; all others go on. The service retries it with growing pauses for a little over an hour.
    Then it is dead and waits for you.
    """


@command.command("list")
@SERVICE
@click.option("--all", "each", is_flag=True, help="List single events, not groups by error.")
@JSON
def list_(services: tuple[str, ...], each: bool, as_json: bool) -> None:
    """Show parked events, grouped by error, the oldest first."""
    client = connect(os.environ)
    rows = list(_events(client, services) if each else _groups(client, services))
    if as_json:
        show_json(rows)
    elif not rows:
        echo("Nothing is parked: every event took effect.")
    else:
        show_table(_table_of_events(rows) if each else _table_of_groups(rows))
        if not each:
            echo("See single events: farmgate parked list --all")


@command.command("show")
@click.argument("event_id", type=click.UUID)
@SERVICE
@JSON
def show(event_id: UUID, services: tuple[str, ...], as_json: bool) -> None:
    """Show why EVENT_ID is parked, its payload without personal data, and how many wait behind."""
    service, shown = _find(connect(os.environ), event_id, services)
    if as_json:
        show_json({"service": service} | shown)
        return
    event = shown["event"]
    for label in ("event_id", "type", "subject", "state", "reason", "error", "attempts"):
        echo(f"{label.replace('_', ' '):<16}{event[label]}")
    echo(f"{'service':<16}{service}")
    echo(f"{'first failed':<16}{moment(event['first_failed_at'])}")
    echo(f"{'next attempt':<16}{moment(event['next_attempt_at'])}")
    echo(f"{'wait behind it':<16}{shown['behind']}")
    echo("payload")
    show_json(shown["payload"])


@command.command("replay")
@click.argument("event_ids", type=click.UUID, nargs=-1)
@click.option("--all", "all_of_them", is_flag=True, help="All failed events of every service.")
@click.option("--reason", help="All events with this reason, such as handler_failed.")
@click.option("--type", "type_", help="All events of this type, such as orders.order_placed.v1.")
@click.option("--why", help="Why it should work now; it is stored.")
@SERVICE
@JSON
def replay(
    event_ids: tuple[UUID, ...],
    all_of_them: bool,
    reason: str | None,
    type_: str | None,
    why: str | None,
    services: tuple[str, ...],
    as_json: bool,
) -> None:
    """Replay parked events at once, after a fix: by id, by --reason, by --type, or --all.

    Events behind them follow in order. An event that fails again is parked again.
    """
    grouped = all_of_them or reason is not None or type_ is not None
    if grouped == bool(event_ids):
        raise click.UsageError("Name either events by their ids, or --reason, --type or --all.")
    client = connect(os.environ)
    if grouped:
        body = {"why": why} | _given(reason=reason, type=type_)
        counts = {
            name: client.post(name, "/parked/replay", body)["replayed"]
            for name in services or NAMES
        }
    else:
        counts = dict.fromkeys(NAMES, 0)
        for event_id in event_ids:
            service, _ = _find(client, event_id, services)
            client.post(service, f"/parked/{event_id}/replay", {"why": why})
            counts[service] += 1
    if as_json:
        echo_json(counts)
    elif not any(counts.values()):
        echo("No failed event matches; see the parked events: farmgate parked list")
    else:
        replayed = ", ".join(f"{count} in {name}" for name, count in counts.items() if count)
        echo(f"Replayed: {replayed}. See which failed again: farmgate parked list")


@command.command("edit")
@click.argument("event_id", type=click.UUID)
@click.option(
    "--data", "file", type=click.File(encoding="utf-8"), help="A JSON file; - for standard input."
)
@click.option(
    "--set", "changes", multiple=True, metavar="PATH=VALUE", help="Such as lines.0.quantity=500."
)
@click.option("--why", "--reason", "why", required=True, help="Why it is right; it is stored.")
@click.option("--yes", is_flag=True, help="Skip the confirmation.")
@SERVICE
@JSON
def edit(
    event_id: UUID,
    file: TextIO | None,
    changes: tuple[str, ...],
    why: str,
    yes: bool,
    services: tuple[str, ...],
    as_json: bool,
) -> None:
    """Change EVENT_ID's data in one service, and replay it in its place.

    --data replaces all data from a file; --set changes values by path and may be repeated (a VALUE
    that is no JSON is text). If the event's contract does not allow the data, nothing is changed.
    Events behind it follow. The feed and other services keep the published data.
    """
    if (file is None) == (not changes):
        raise click.UsageError("Give either --data FILE or --set PATH=VALUE.")
    body = {"why": why} | ({"changes": _changes(changes)} if file is None else _data(file))
    client = connect(os.environ)
    service, shown = _find(client, event_id, services)
    event = shown["event"]
    if not yes:
        confirm(
            f"{event['type']} of {event['subject']} will take effect in {service} with other data "
            f"than {event['publisher']} published. Edit?",
            abort=True,
        )
    edited = client.post(service, f"/parked/{event_id}/edit", body)
    if as_json:
        echo_json({"service": service} | edited)
    elif edited["state"] == "behind":
        echo("Edited; it follows older events of its subject: farmgate parked list --all")
    else:
        echo(
            f"Edited and replayed; the events behind it follow ({shown['behind']}). "
            "See whether it failed again: farmgate parked list"
        )


@command.command("discard")
@click.argument("event_id", type=click.UUID)
@click.option("--why", required=True, help="Why it may be discarded; it is stored.")
@click.option("--yes", is_flag=True, help="Skip the confirmation.")
@SERVICE
@JSON
def discard(event_id: UUID, why: str, yes: bool, services: tuple[str, ...], as_json: bool) -> None:
    """Discard EVENT_ID: it never takes effect, and the events behind it go on."""
    client = connect(os.environ)
    service, shown = _find(client, event_id, services)
    event = shown["event"]
    if not yes:
        confirm(
            f"{event['type']} of {event['subject']} will never take effect in {service}. Discard?",
            abort=True,
        )
    discarded = client.post(service, f"/parked/{event_id}/discard", {"why": why})
    if as_json:
        echo_json({"service": service} | discarded)
    else:
        echo(
            f"Discarded; the events behind it go on ({shown['behind']}). "
            "See what differs now: farmgate verify"
        )


@command.command("history")
@SERVICE
@JSON
def history(services: tuple[str, ...], as_json: bool) -> None:
    """Show operators' actions on parked events with actor, time and reason, the newest first.

    --json also has the data before and after an edit, without values that may be personal.
    """
    client = connect(os.environ)
    rows = [
        {"service": name} | action
        for name in services or NAMES
        for action in client.pages(name, "/parked/actions")
    ]
    rows.sort(key=lambda row: str(row["done_at"]), reverse=True)
    if as_json:
        show_json(rows)
        return
    if not rows:
        echo("No event was replayed, edited or discarded.")
        return
    table = Table(title="Actions on parked events", title_justify="left")
    for title in ("when", "who", "what", "service", "event", "why"):
        table.add_column(title)
    for row in rows:
        why = row["why"] or ""
        event = f"{row['type']} {row['event_id']}"
        cells = (moment(row["done_at"]), row["actor"], row["action"], row["service"])
        table.add_row(*cells, event, why)
    show_table(table)


def _groups(client: Client, services: tuple[str, ...]) -> list[dict[str, Any]]:
    rows = [
        {"service": name} | group
        for name in services or NAMES
        for group in client.get(name, "/parked/groups")["groups"]
    ]
    return sorted(rows, key=lambda row: str(row["oldest"]))


def _events(client: Client, services: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for name in services or NAMES:
        for event in client.pages(name, "/parked"):
            yield {"service": name} | event


def _find(client: Client, event_id: UUID, services: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """Return the service in which an event is parked, and the parked event.

    Raises:
        Failed: no service has it parked, or several.
    """
    found = {}
    for name in services or NAMES:
        try:
            found[name] = client.get(name, f"/parked/{event_id}")
        except Refused as error:
            if error.status != 404:
                raise
    if not found:
        raise Failed(f"Event {event_id} is not parked (any more). See: farmgate parked list --all")
    if len(found) > 1:
        raise Failed(
            f"Event {event_id} is parked in {' and '.join(found)}: name one of them with --service."
        )
    return found.popitem()


def _changes(given: tuple[str, ...]) -> dict[str, Any]:
    changes = {}
    for each in given:
        path, is_there, text = each.partition("=")
        if not (path and is_there):
            raise click.UsageError(f"--set {each}: write PATH=VALUE, such as lines.0.quantity=500.")
        try:
            changes[path] = json_value(text)
        except ValueError:
            changes[path] = text
    return changes


def _data(file: TextIO) -> dict[str, Any]:
    try:
        data = json_value(file.read())
    except ValueError as error:
        raise click.UsageError(f"--data {file.name}: no JSON: {error}") from error
    if not isinstance(data, dict):
        raise click.UsageError(f"--data {file.name}: must be an object, the event's `data`.")
    return {"data": data}


def _given(**values: str | None) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}


def _table_of_groups(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="Parked, by error", title_justify="left")
    for title in ("service", "count", "oldest", "reason", "type", "error"):
        table.add_column(title, justify="right" if title == "count" else "left")
    for row in rows:
        error = (row["error"] or "")[:SHORT]
        cells = (row["service"], str(row["count"]), moment(row["oldest"]), row["reason"])
        table.add_row(*cells, row["type"], error)
    return table


def _table_of_events(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="Parked, in their order", title_justify="left")
    for title in ("service", "event", "type", "subject", "state", "reason", "attempts"):
        table.add_column(title, no_wrap=title == "event", overflow="fold")
    for row in rows:
        cells = [row[name] for name in ("service", "event_id", "type", "subject", "state")]
        table.add_row(*cells, row["reason"], str(row["attempts"]))
    return table
