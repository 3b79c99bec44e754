"""`farmgate sample`: invented data of Nyingchi."""

import os
from datetime import datetime

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID

from demo.sample import loading
from demo.sample.making import SEED
from farmgate.client import connect
from farmgate.console import Label, echo, echo_json, err
from farmgate.groups import Group
from farmgate.parameters import WholeNumber


@click.group("sample", cls=Group)
def command() -> None:
    """Sample data: sites, producers, goods, prices and stock of Nyingchi."""


@command.command("load")
@click.option(
    "--seed",
    type=WholeNumber(0),
    default=SEED,
    show_default=True,
    help="The same seed makes the same sample.",
)
@click.option(
    "--date",
    "day",
    type=click.DateTime(["%Y-%m-%d"]),
    help="The day whose harvest is in stock; today by default.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the number of new rows of each kind.")
def load(seed: int, day: datetime | None, as_json: bool) -> None:
    """Load the sample into the running services.

    The centre, 7 counties, 54 townships and 100 villages; 229 producers; 30 variants with a price
    in each channel; lots in season and their stock. Villages, people and lots are invented.

    Existing data stays, so it is safe to load the sample again; on a later day that adds the newer
    harvest.
    """
    tasks: dict[str, TaskID] = {}
    with Progress(Label(24), BarColumn(), MofNCompleteColumn(), console=err) as bars:

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        new = loading.load(connect(os.environ), seed, day.date() if day else None, show)
    if as_json:
        echo_json(new)
    else:
        echo(f"Sample: {loading.describe(new)}")
