"""`farmgate events`: read partners' feeds, and publish events again."""

import os
from collections.abc import Callable
from datetime import datetime
from urllib.parse import quote

import click
from pika.exceptions import AMQPError
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID
from sqlalchemy.exc import SQLAlchemyError

from farmgate.client import connect
from farmgate.console import Label, check_written, echo, echo_json, err
from farmgate.failures import Failed, Unreachable, database_unreachable
from farmgate.groups import Group
from farmgate.parameters import WholeNumber
from farmgate.services import NAMES
from farmgate.since import Since
from shared.messaging.relay import Refused, Unconfirmed
from shared.messaging.republish import republish as publish_again
from shared.runtime.config import Settings
from shared.runtime.database import Database

#: Called with the number of events done and in total.
Show = Callable[[int, int], None]

#: Events of one request, and the seconds that a request waits for one.
MOST, WAIT = 1000, 20


@click.group("events", cls=Group)
def command() -> None:
    """Events that the services published, and partners' feeds of them."""


PARTNER = click.option(
    "--partner", help="The feed of this partner; by default that of the token's subject."
)
TYPES = click.option(
    "--events",
    "types",
    multiple=True,
    metavar="PATTERN",
    help="Only these events, such as 'orders.order_*'; may be repeated.",
)
LINES = click.option("--json", "as_json", is_flag=True, help="Print each event as a line of JSON.")


@command.command("feed")
@PARTNER
@TYPES
@click.option("--after", metavar="CURSOR", help="Begin behind this cursor, not at the oldest.")
@click.option("--limit", type=WholeNumber(1), help="Stop after so many events.")
@LINES
def feed(
    partner: str | None, types: tuple[str, ...], after: str | None, limit: int | None, as_json: bool
) -> None:
    """Print a partner's events, from the oldest that is kept, and end.

    The last line on stderr has the cursor to go on from.
    """
    reader = _Reader(partner, types, after)
    left = limit
    while True:
        shown, more = reader.read(wait=0, limit=min(left or MOST, MOST), as_json=as_json)
        left = None if left is None else left - shown
        if not more or left == 0:
            break
    check_written()
    if reader.after is not None:
        echo(f"Go on with --after {reader.after}", console=err)


@command.command("tail")
@PARTNER
@TYPES
@LINES
def tail(partner: str | None, types: tuple[str, ...], as_json: bool) -> None:
    """Print a partner's new events as they come, until Ctrl-C."""
    client = connect(os.environ)
    path = "/subscription" if partner is None else f"/subscriptions/{quote(partner, safe='')}"
    reader = _Reader(partner, types, client.get("events", path)["newest_cursor"])
    while True:
        reader.read(wait=WAIT, limit=MOST, as_json=as_json)
        check_written()


class _Reader:
    """Reads a feed part by part; `after` is the cursor behind what was printed."""

    def __init__(self, partner: str | None, types: tuple[str, ...], after: str | None) -> None:
        self.after = after
        self._client = connect(os.environ)
        self._query = {"partner": partner, "types": ",".join(types) or None}

    def read(self, *, wait: int, limit: int, as_json: bool) -> tuple[int, bool]:
        """Print the next events; return how many there were, and whether there are more."""
        answer = self._client.get(
            "events", "/events", after=self.after, wait=wait, limit=limit, **self._query
        )
        for each in answer["events"]:
            if as_json:
                echo_json(each)
            else:
                event = each["event"]
                echo(f"{each['position']:>8} {event['time']} {event['type']} {event['subject']}")
        self.after = answer["next"]
        return len(answer["events"]), answer["more"]


@command.command("republish")
@click.option(
    "--since",
    type=Since(),
    required=True,
    metavar="WHEN",
    help="How long ago (90m, 12h, 2d), or a time with its zone (2026-08-01T08:00+08:00).",
)
@click.option(
    "--service",
    "services",
    multiple=True,
    type=click.Choice(NAMES),
    help="Only this service's events; may be repeated. All four by default.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
def republish(since: datetime, services: tuple[str, ...], as_json: bool) -> None:
    """Publish events again that were published since --since, after the broker lost its data.

    First run `farmgate topology`. Choose --since well before the loss: consumers drop events that
    took effect already, by their ids. Integrators get nothing twice: for one of them, see `farmgate
    integrators replay`. Services may run meanwhile. Events that the outbox no longer
    has (FARMGATE_OUTBOX_DAYS) cannot be published again.

    Exit code 0: all events are in the queues. 1: the broker has no queue for an event, or no broker
    is set. 3: a database or the broker cannot be reached. Safe to repeat.
    """
    chosen = [Settings.from_environment(name) for name in NAMES if name in (services or NAMES)]
    without = [settings.service for settings in chosen if settings.broker_url is None]
    if without:
        raise Failed(
            f"No broker is set for {', '.join(without)}. Embedded mode has no broker and needs no "
            "republishing; otherwise set FARMGATE_BROKER_URL."
        )
    counts: dict[str, int] = {}
    with Progress(Label(24), BarColumn(), MofNCompleteColumn(), console=err) as bars:
        for settings in chosen:
            counts[settings.service] = _republish(settings, since, _bar(bars, settings.service))
    if as_json:
        echo_json(counts)
        return
    for name, count in counts.items():
        echo(f"{name}: {count} published again")


def _bar(bars: Progress, name: str) -> Show:
    task: TaskID = bars.add_task(name, total=None)
    return lambda done, total: bars.update(task, completed=done, total=total)


def _republish(settings: Settings, since: datetime, show: Show) -> int:
    name, url = settings.service, settings.broker_url
    assert url is not None
    database = Database(settings.database_url)
    try:
        return publish_again(name, database, url, since, show)
    except Refused as error:
        raise Failed(f"{name}: {error}; then run this again.") from error
    except Unconfirmed as error:
        raise Unreachable(
            f"{name}: the broker did not confirm {error}. Run this again; if that fails, look at "
            "the broker's log."
        ) from error
    except SQLAlchemyError as error:
        raise database_unreachable(name, error, migrate=True) from error
    except (AMQPError, OSError) as error:
        raise Unreachable(
            f"{name}: the broker refused or cannot be reached: {error!r}. Check the address in "
            f"FARMGATE_{name.upper()}_BROKER_URL or FARMGATE_BROKER_URL, and its user's rights; "
            "then run this again."
        ) from error
    finally:
        database.close()
