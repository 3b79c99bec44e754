"""`farmgate events`: publish events again."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NoReturn

import click
from pika.exceptions import AMQPError
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID
from sqlalchemy.exc import SQLAlchemyError

from farmgate.console import Label, echo, echo_json, err
from farmgate.failures import Failed, Unreachable, database_unreachable
from farmgate.groups import Group
from farmgate.services import NAMES
from shared.messaging.relay import Refused, Unconfirmed
from shared.messaging.republish import republish as publish_again
from shared.runtime.clock import now
from shared.runtime.config import Settings
from shared.runtime.database import Database

#: Called with the number of events done and in total.
Show = Callable[[int, int], None]

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class Since(click.ParamType[datetime]):
    """A moment in the past, as a duration until now (90m, 12h, 2d) or ISO 8601 with a zone."""

    name = "since"

    def convert(
        self,
        value: str | datetime,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> datetime:
        """Return the moment."""
        if isinstance(value, datetime):
            return value
        duration = re.fullmatch("([0-9]+)([mhd])", value)
        try:
            if duration:
                return now() - timedelta(**{_UNITS[duration[2]]: int(duration[1])})
            moment = datetime.fromisoformat(value)
        except (ValueError, OverflowError):
            self._refuse(f"{value!r} is no date and time", param, ctx)
        if moment.tzinfo is None:
            self._refuse(f"{value!r} has no time zone", param, ctx)
        if moment > now():
            self._refuse(f"{value!r} is in the future", param, ctx)
        return moment

    def _refuse(
        self, why: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> NoReturn:
        self.fail(
            f"{why}. Give 90m, 12h or 2d, or a time such as 2026-08-01T08:00+08:00.", param, ctx
        )


@click.group("events", cls=Group)
def command() -> None:
    """Events that the services published."""


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
    took effect already, by their ids. Services may run meanwhile. Events that the outbox no longer
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
