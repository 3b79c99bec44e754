"""`farmgate integrators`: partners' systems, each with its own queue of events and user."""

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from farmgate import feed_database, integrators
from farmgate.backup import manifest
from farmgate.broker_address import topology_url
from farmgate.broker_users import hashed, integrator_user
from farmgate.commands import endpoints, feeds
from farmgate.console import confirm, echo, echo_json, show_json, show_table
from farmgate.failures import Failed
from farmgate.groups import Group
from farmgate.management import management_of
from farmgate.parameters import WholeNumber
from farmgate.since import Since
from services.notifications.rules.feed import wanted
from services.notifications.use_cases import feed, queues
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
#: Who did it, in the record of actions.
ACTOR = "farmgate integrators"
PARTNER = click.option(
    "--partner",
    help="Whose feed the queue gets: the subject of the partner's tokens.",
)
EVENTS = click.option(
    "--events",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="Only these events, such as 'orders.order_*'; may be repeated. They become the event "
    "types of the partner's subscription, whichever way it reads.",
)
SINCE = click.option(
    "--since",
    type=Since(),
    metavar="WHEN",
    help="Begin with the events since then (90m, 12h, 2d, or a time with its zone), not with new "
    "ones.",
)


@click.group("integrators", cls=Group)
def command() -> None:
    """Partners' systems: their subscriptions to events, their tokens, and their broker queues.

    The subcommands for queues (add, assign, list, remove, restore) need the broker's management
    API. Set FARMGATE_BROKER_MANAGEMENT_URL to it, with a user that has the tag administrator; a
    deployment sets it. examples/subscriber is an example of an integrator.
    """


for each in (*feeds.COMMANDS, endpoints.command):
    command.add_command(each)


@command.command("add")
@NAME
@PARTNER
@EVENTS
@SINCE
@click.option(
    "--max-megabytes",
    type=WholeNumber(1, 10_000),
    help="Size of the queue, beyond which events wait in the feed; "
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
    partner: str | None,
    patterns: tuple[str, ...],
    since: datetime | None,
    max_megabytes: int | None,
    new_password: bool,
    password_file: Path | None,
    as_json: bool,
) -> None:
    """Create a queue that is fed from a partner's feed, and a user that may only read it.

    The partner is NAME, unless --partner says otherwise. Its subscription is made if there is
    none. The password is printed once. When the queue is full, further events wait in the feed; a
    slow integrator delays nobody else and loses nothing.
    """
    management, url = management_of(os.environ), topology_url(os.environ)
    exists = integrators.has_user(management, name)
    if exists and not new_password:
        raise Failed(
            f"Integrator {name} exists. To replace its password: farmgate integrators add {name} "
            f"--new-password. To begin anew: farmgate integrators remove {name}."
        )
    if new_password and not exists:
        raise Failed(f"There is no integrator {name}: leave out --new-password to create it.")
    # An interrupted `add` leaves a parameter without a user. A queue's bound cannot be changed.
    before = {one.name: one for one in integrators.list_integrators(management)}.get(name)
    if before is not None and max_megabytes not in (None, before.max_bytes // MEGABYTE):
        raise Failed(
            f"The queue of {name} has another size, which cannot be changed. To begin anew: "
            f"farmgate integrators remove {name}."
        )
    size = INTEGRATOR_BYTES if max_megabytes is None else max_megabytes * MEGABYTE
    integrator = before or Integrator(name, size)
    types = _assign(integrator, partner, patterns, since)
    password = secrets.token_urlsafe(24)
    with _written(password_file, password):
        integrators.put(management, url, integrator, hashed(password))
    result: dict[str, Any] = {
        "name": name,
        "queue": integrator.queue,
        "user": integrator_user(name),
        "vhost": management.vhost,
        "events": types,
    }
    if password_file is None:
        result["password"] = password
    else:
        result["password_file"] = str(password_file)
    if as_json:
        echo_json(result, indent=2)
    else:
        _show(result)


def _assign(
    integrator: Integrator, partner: str | None, patterns: Sequence[str], since: datetime | None
) -> list[str]:
    """Assign a partner's feed to a queue; return the event types that it gets.

    A queue that has one keeps it, unless another partner is named.
    """
    with feed_database.opened(os.environ) as batch:
        before = queues.list_queues(batch.session).get(integrator.queue)
        if partner is None:
            partner = integrator.name if before is None else before.subscription.partner
        if patterns:
            feed.subscribe(batch, partner, ACTOR, patterns)
            batch.session.flush()
        state = queues.add_queue(
            batch, integrator.queue, partner, ACTOR, integrator.max_bytes, since
        )
        types = wanted(tuple(state.subscription.types), tuple(state.subscription.grants))
        return sorted(types.own | types.wide)


@command.command("assign")
@NAME
@PARTNER
@EVENTS
@SINCE
def assign(
    name: str, partner: str | None, patterns: tuple[str, ...], since: datetime | None
) -> None:
    """Assign a partner's feed to the queue of an existing integrator.

    For integrators of a version before feeds, or to feed a queue with another partner's events.
    User and password stay.
    """
    management, url = management_of(os.environ), topology_url(os.environ)
    known = {one.name: one for one in integrators.list_integrators(management)}
    if name not in known:
        raise Failed(f"There is no integrator {name}: see farmgate integrators list.")
    # First, since a queue of an older version would drop its oldest events.
    integrators.declare(url, known[name])
    types = _assign(known[name], partner, patterns, since)
    echo(f"{known[name].queue} gets {', '.join(types)}")


@command.command("replay")
@NAME
@SINCE
@click.option("--all", "everything", is_flag=True, help="Everything that the feed still has.")
@JSON
def replay(name: str, since: datetime | None, everything: bool, as_json: bool) -> None:
    """Feed an integrator's queue again with events that it got before; no one else gets them.

    They come as fast as the subscriber takes them: the queue never exceeds its size. They have the
    same ids and positions, by which the subscriber knows them. Running services need no restart.
    """
    if everything == (since is not None):
        raise click.UsageError("Give either --since or --all.")
    with feed_database.opened(os.environ) as batch:
        count, first = queues.replay_queue(batch, Integrator(name).queue, ACTOR, since)
    if as_json:
        echo_json({"name": name, "events": count, "first_position": first})
    elif count:
        echo(f"{name}: {count} events are fed again, from position {first} on")
    else:
        echo(f"{name}: it got no event since then, so nothing is fed again")


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
    """Show the integrators with their partners, waiting events and connections.

    `in feed` counts the events that are not in the queue yet.
    """
    management = management_of(os.environ)
    states = integrators.queue_states(
        topology_url(os.environ), integrators.list_integrators(management)
    )
    with feed_database.opened(os.environ) as batch:
        fed = {
            name: (subscription.partner, subscription.last_position - queue.position)
            for name, (queue, subscription) in queues.list_queues(batch.session).items()
        }
    rows = [
        {
            "name": state.integrator.name,
            "queue": state.integrator.queue,
            "partner": fed.get(state.integrator.queue, (None, 0))[0],
            "in_feed": fed.get(state.integrator.queue, (None, 0))[1],
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
    table = Table(
        "name", "queue", "partner", "in feed", "waiting", "connected", "at most", box=None
    )
    for row in rows:
        missing = row["messages"] is None
        table.add_row(
            row["name"],
            row["queue"],
            row["partner"] or f"none: farmgate integrators assign {row['name']}",
            str(row["in_feed"]),
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
    with feed_database.opened(os.environ) as batch:
        queues.remove_queue(batch, state.integrator.queue, ACTOR)
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
    created, too. The queues are empty; they are fed again from the last place that each integrator
    surely had.
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
