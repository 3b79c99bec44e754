"""`farmgate integrators`: partners' systems, each with its own queue of order events and user."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from farmgate import integrators
from farmgate.backup import manifest
from farmgate.broker_address import topology_url
from farmgate.broker_users import hashed, integrator_user
from farmgate.commands import endpoints, feeds
from farmgate.console import confirm, echo, echo_json, show_json, show_table
from farmgate.failures import Failed
from farmgate.groups import Group
from farmgate.management import management_of
from farmgate.parameters import WholeNumber
from shared.messaging.topology import INTEGRATOR_BYTES, Integrator

JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
MEGABYTE = 1_048_576
#: Results of `restore`; scripts read them as JSON.
_MADE = "made, with the password that it has"
_PRESENT = "is there, left as it is"
_WITHOUT_PASSWORD = "had no user when the backup was made: farmgate integrators add {}"


def _name(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if integrators.NAME.fullmatch(value) is None:
        raise click.BadParameter("small letters, digits and - only, at most 50, such as shop-1")
    return value


NAME = click.argument("name", callback=_name)


@click.group("integrators", cls=Group)
def command() -> None:
    """Partners' systems: their subscriptions to events, their tokens, and their broker queues.

    The subcommands for queues (add, list, remove, restore) need the broker's management API. Set
    FARMGATE_BROKER_MANAGEMENT_URL to it, with a user that has the tag administrator; a deployment
    sets it. examples/subscriber is an example of an integrator.
    """


for each in (*feeds.COMMANDS, endpoints.command):
    command.add_command(each)


@command.command("add")
@NAME
@click.option(
    "--events",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="Only these events, such as 'orders.order_*'; may be repeated.",
)
@click.option(
    "--max-megabytes",
    type=WholeNumber(1, 10_000),
    help="Size of the queue, beyond which the oldest events are dropped; "
    f"{INTEGRATOR_BYTES // MEGABYTE} by default.",
)
@click.option(
    "--new-password", is_flag=True, help="Replace the password of an existing integrator."
)
@click.option(
    "--password-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the password to this new file instead of printing it.",
)
@JSON
def add(
    name: str,
    patterns: tuple[str, ...],
    max_megabytes: int | None,
    new_password: bool,
    password_file: Path | None,
    as_json: bool,
) -> None:
    """Create a queue of public order events, and a user that may only read it.

    The password is printed once. With --new-password, --events changes an integrator's events.
    Events that are older than 7 days or exceed the queue's size are dropped, so that a slow
    integrator delays nobody else.
    """
    management, url = management_of(os.environ), topology_url(os.environ)
    integrators.check_patterns(patterns)
    exists = integrators.has_user(management, name)
    if exists and not new_password:
        raise Failed(
            f"Integrator {name} exists. To replace its password: farmgate integrators add {name} "
            f"--new-password. To begin anew: farmgate integrators remove {name}."
        )
    if new_password and not exists:
        raise Failed(f"There is no integrator {name}: leave out --new-password to create it.")
    # An interrupted `add` leaves a parameter without a user.
    before = {one.name: one for one in integrators.list_integrators(management)}.get(
        name, Integrator(name)
    )
    integrator = Integrator(
        name,
        patterns or before.patterns,
        before.max_bytes if max_megabytes is None else max_megabytes * MEGABYTE,
    )
    password = secrets.token_urlsafe(24)
    with _written(password_file, password):
        integrators.put(management, url, integrator, hashed(password))
    result: dict[str, Any] = {
        "name": name,
        "queue": integrator.queue,
        "user": integrator_user(name),
        "vhost": management.vhost,
        "events": sorted(integrator.types),
    }
    if password_file is None:
        result["password"] = password
    else:
        result["password_file"] = str(password_file)
    if as_json:
        echo_json(result, indent=2)
    else:
        _show(result)


def _show(result: dict[str, Any]) -> None:
    secret = f"in {result['password_file']}" if "password_file" in result else result["password"]
    lines = [f"{label:<10}{result[label]}" for label in ("queue", "user", "vhost")]
    lines.append(f"{'password':<10}{secret}")
    lines += [f"{'events':<10}{type_}" for type_ in result["events"]]
    if "password" in result:
        lines.append("The password is shown only now.")
    for line in lines:
        echo(line)


@command.command("list")
@JSON
def list_(as_json: bool) -> None:
    """Show the integrators with their events, waiting messages and connections."""
    management = management_of(os.environ)
    states = integrators.queue_states(
        topology_url(os.environ), integrators.list_integrators(management)
    )
    rows = [
        {
            "name": state.integrator.name,
            "queue": state.integrator.queue,
            "events": list(state.integrator.patterns),
            "max_bytes": state.integrator.max_bytes,
            "messages": state.queue and state.queue.messages,
            "consumers": state.queue and state.queue.consumers,
        }
        for state in states
    ]
    if as_json:
        show_json(rows)
    elif not rows:
        echo("There are no integrators. Create one: farmgate integrators add NAME")
    else:
        show_table(_table(rows))


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table("name", "queue", "events", "waiting", "connected", "at most", box=None)
    for row in rows:
        missing = row["messages"] is None
        table.add_row(
            row["name"],
            row["queue"],
            " ".join(row["events"]),
            "no queue: farmgate topology" if missing else str(row["messages"]),
            "" if missing else str(row["consumers"]),
            f"{row['max_bytes'] // MEGABYTE} MB",
        )
    return table


@command.command("remove")
@NAME
@click.option("--yes", is_flag=True, help="Skip the confirmation.")
def remove(name: str, yes: bool) -> None:
    """Remove an integrator: its user, and its queue with all messages."""
    management, url = management_of(os.environ), topology_url(os.environ)
    names = {one.name for one in integrators.list_integrators(management)}
    (state,) = integrators.queue_states(url, [Integrator(name)])
    # An interrupted `add` or `remove` leaves only some of parameter, queue and user.
    if name not in names and state.queue is None and not integrators.has_user(management, name):
        raise Failed(f"There is no integrator {name}: see farmgate integrators list.")
    waiting = state.queue.messages if state.queue else 0
    if not yes:
        confirm(
            f"This drops {waiting} messages that wait in {state.integrator.queue}, and "
            f"disconnects user {integrator_user(name)}. Remove it?",
            abort=True,
        )
    integrators.remove(management, url, name)
    echo(f"Removed {name}, with {waiting} messages that waited for it.")


@command.command("restore")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("names", nargs=-1, metavar="[NAME]...")
@JSON
def restore(folder: Path, names: tuple[str, ...], as_json: bool) -> None:
    """Create the integrators of a backup again, with their old passwords.

    Use it for a broker that lost its data. FOLDER is a set of `farmgate backup`. Existing
    integrators stay unchanged. Without NAMEs, integrators that were removed since the backup are
    created, too. The queues are empty; `farmgate events republish` publishes missed events again.
    """
    management, url = management_of(os.environ), topology_url(os.environ)
    kept = manifest.read(folder).integrators
    if kept is None:
        raise Failed(
            f"{folder} has no list of integrators: the backup was made without a broker, or its "
            "management API could not be asked. Use another set, or farmgate integrators add."
        )
    by_name = {account.integrator.name: account for account in kept}
    for name in names:
        if name not in by_name:
            raise Failed(f"{folder} has no integrator {name}: {', '.join(by_name) or 'no one'}.")
    rows = []
    for name in names or by_name:
        integrator, password_hash = by_name[name].integrator, by_name[name].password_hash
        done = _PRESENT if integrators.has_user(management, name) else _MADE
        if password_hash is None:
            done = _WITHOUT_PASSWORD.format(name)
        elif done == _MADE:
            integrators.put(management, url, integrator, password_hash)
        rows.append({"name": name, "queue": integrator.queue, "done": done})
    if as_json:
        echo_json(rows, indent=2)
    elif not rows:
        echo("There were no integrators when the backup was made.")
    for row in () if as_json else rows:
        echo(f"{row['name']}: {row['done']}")


@contextmanager
def _written(path: Path | None, password: str) -> Iterator[None]:
    """Write the password to a new file before it is set; delete the file if setting it fails.

    Raises:
        Failed: the file exists already or cannot be written.
    """
    if path is None:
        yield
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(password + "\n")
    except OSError as error:
        raise Failed(f"The password cannot be written: {error}. Name a new file.") from error
    try:
        yield
    except BaseException:
        path.unlink()
        raise
