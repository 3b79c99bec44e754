"""`farmgate verify`: do the four services agree, order by order and sale by sale?"""

import os

import click
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from farmgate.client import connect
from farmgate.console import Label, err, say, show_json, show_table
from farmgate.parameters import Seconds
from farmgate.verify.rules import Difference
from farmgate.verify.verifier import Result, Verifier

#: Seconds a service is asked for before it counts as away.
REACHING = 10.0


@click.command("verify")
@click.option(
    "--patience",
    type=Seconds(0, 3600),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to look again at what differs: events may be on their way.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(patience: float, as_json: bool) -> None:
    """Rebuild every balance and compare the four services with each other.

    Each service compares its own rows: stock with its ledger, allotments with their sales, cash
    with its causes, shipments with their proofs. Then every order is compared with its
    reservation, its shipment and its messages, and every station sale with catalog's booking:
    states must fit, lots and quantities must be the same. A disputed sale that nobody has
    decided is a difference.

    It runs beside everything else and stops nothing. What differs is read again until it agrees
    or the patience is over, so that events on their way are no difference.

    Exit code 0: all agree. 1: something differs; each line says what, with its ids, and what to
    do next. 3: a service cannot be reached.
    """
    client = connect(os.environ, patience=REACHING)
    tasks: dict[str, TaskID] = {}
    with Progress(
        Label(32),
        BarColumn(),
        TextColumn("{task.completed:,.0f}"),
        TimeElapsedColumn(),
        console=err,
        transient=True,
    ) as bars:

        def show(what: str, count: int) -> None:
            for other, task in tasks.items():
                if other != what:
                    bars.stop_task(task)
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=None)
            bars.update(tasks[what], advance=count)

        result = Verifier(client, show).run(patience)
    if as_json:
        show_json(result.as_json())
    else:
        _show(result)
    if not result.agrees:
        raise SystemExit(1)


def _show(result: Result) -> None:
    table = Table(title="Compared", title_justify="left")
    table.add_column("what", no_wrap=True)
    table.add_column("how many", justify="right")
    for what, count in result.checked.items():
        table.add_row(what, f"{count:,}")
    show_table(table)
    for note in result.notes:
        say(("note", "yellow"), f" {note}")
    if result.vanished:
        say(f"{result.vanished} differences were only events on their way: they are gone.")
    for difference in result.differences:
        _show_difference(difference)
    if result.agrees:
        say(("✓", "green"), " All four services agree.")
        return
    say(("✗", "red"), f" {len(result.differences)} differences.")
    for name, waiting in result.waiting.items():
        _show_waiting(name, waiting)


def _show_difference(difference: Difference) -> None:
    where = f"{difference.service}: " if difference.service else ""
    ids = ", ".join(f"{name} {value}" for name, value in difference.ids.items())
    say(("✗", "red"), f" {where + difference.detail}")
    for label, text in (
        (difference.check, ids),
        ("expected", f"{difference.expected}; found {difference.found}"),
        ("next", difference.todo),
    ):
        say((f"    {label}:", "dim"), f" {text}")


def _show_waiting(name: str, waiting: dict[str, object]) -> None:
    """Say what may still explain a difference: events that nobody has heard of yet."""
    age, parked = waiting["oldest_unpublished_seconds"], waiting["parked"]
    said = []
    if age is None:
        said.append("does not say what waits")
    elif age:
        said.append(f"its oldest event has waited {age} s to be published")
    if isinstance(parked, dict) and parked:
        counts = ", ".join(f"{count} {state}" for state, count in sorted(parked.items()))
        said.append(f"events parked: {counts}; farmgate trace ORDER shows why")
    if said:
        say((name, "yellow"), f": {'; '.join(said)}")
