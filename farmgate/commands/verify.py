"""`farmgate verify`: compare the four services, order by order and sale by sale."""

import os

import click
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from farmgate.client import connect
from farmgate.console import Label, echo, err, show_json, show_table
from farmgate.parameters import Seconds
from farmgate.verify.rules import Difference
from farmgate.verify.verifier import Result, Verifier

#: Seconds a request is retried before the service counts as unreachable.
REACHING = 10.0


@click.command("verify")
@click.option(
    "--patience",
    type=Seconds(0, 3600),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to compare differences again: events may be on their way.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(patience: float, as_json: bool) -> None:
    """Rebuild every balance and compare the four services with each other.

    Each service compares its own rows: stock with its ledger, allotments with their sales, cash
    with the sales and payments behind it, shipments with their proofs. Then every order is compared
    with its reservation, its shipment and its messages, and every station sale with catalog's
    booking: states must match, lots and quantities must be equal. An open dispute is a difference.

    It reads only, and all services go on. Differences are compared again for --patience seconds,
    so that events on their way are not reported.

    Exit code 0: all agree. 1: there are differences; each has its ids and what to do next. 3: a
    service cannot be reached.
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
        echo(("note", "yellow"), f" {note}")
    if result.vanished:
        echo(f"{result.vanished} differences are gone: their events were on the way.")
    for difference in result.differences:
        _show_difference(difference)
    if result.agrees:
        echo(("✓", "green"), " All four services agree.")
        return
    count = len(result.differences)
    echo(("✗", "red"), " 1 difference." if count == 1 else f" {count} differences.")
    for name, waiting in result.waiting.items():
        _show_waiting(name, waiting)


def _show_difference(difference: Difference) -> None:
    where = f"{difference.service}: " if difference.service else ""
    ids = ", ".join(f"{name} {value}" for name, value in difference.ids.items())
    echo(("✗", "red"), f" {where + difference.detail}")
    for label, text in (
        (difference.check, ids),
        ("expected", f"{difference.expected}; found {difference.found}"),
        ("next", difference.todo),
    ):
        echo((f"    {label}:", "dim"), f" {text}")


def _show_waiting(name: str, waiting: dict[str, object]) -> None:
    """Print a service's waiting events, which may explain a difference."""
    age, parked = waiting["oldest_unpublished_seconds"], waiting["parked"]
    facts = []
    if age is None:
        facts.append("does not report its waiting events")
    elif age:
        facts.append(f"its oldest event has waited {age} s to be published")
    if isinstance(parked, dict) and parked:
        counts = ", ".join(f"{count} {state}" for state, count in sorted(parked.items()))
        facts.append(f"events parked: {counts}; farmgate parked list shows why")
    if facts:
        echo((name, "yellow"), f": {'; '.join(facts)}")
