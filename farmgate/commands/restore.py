"""`farmgate restore`: a set in the databases' place."""

import os
from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table

from farmgate.backup import restoring
from farmgate.backup.progress import progress_bars
from farmgate.backup.restoring import Plan, Restored
from farmgate.broker_address import broker_of
from farmgate.console import ask, err, say, say_json
from farmgate.failures import Failed
from farmgate.locking import lock_data_folder
from farmgate.services import NAMES
from shared.runtime.config import Settings, read


@click.command("restore")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--service",
    "services",
    multiple=True,
    type=click.Choice(NAMES),
    help="Restore only this one; may be repeated. All four when left out.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--keep/--no-keep",
    default=True,
    help="Save what PostgreSQL holds now first, in FARMGATE_DATA/before-restore-…. Without it, a "
    "database that is too damaged to be saved can be replaced. SQLite files are always kept.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON; needs --yes.")
def command(folder: Path, services: tuple[str, ...], yes: bool, keep: bool, as_json: bool) -> None:
    """Put the databases of a set that `farmgate backup` wrote in the place of the present ones.

    Stop all processes of all four services first; while one is connected nothing is replaced.
    Each database is replaced whole or stays as it is; after an interruption run this again
    before you start anything. An older set is brought to this version's migrations.

    When the services start, the events that somebody lacks go out again by themselves, and what
    took effect already is dropped. Then run `farmgate verify`: after restoring all four it
    agrees; after restoring one beside newer others it names what cannot be had again.

    Exit code 0: restored. 1: refused or failed, and why. 3: a database or the broker cannot be
    reached.
    """
    if as_json and not yes:
        raise click.UsageError("--json asks nothing: give --yes as well.")
    data = Path(read(os.environ, "FARMGATE_DATA", "var"))
    settings = {name: Settings.from_environment(name) for name in NAMES}
    chosen = [name for name in NAMES if name in (services or NAMES)]
    with lock_data_folder(data):
        with progress_bars() as report:
            plan = restoring.plan(folder, settings, chosen, report)
        if not yes:
            _ask(plan)
        with progress_bars() as report:
            done = restoring.restore(plan, broker_of(os.environ), keep, report)
    if as_json:
        say_json(asdict(done), indent=2)
    else:
        _show(done, plan)


def _ask(plan: Plan) -> None:
    table = Table(
        title=f"The set is of {plan.found.made_at:%Y-%m-%d %H:%M:%S} UTC", title_justify="left"
    )
    for column in ("service", "rows now", "rows then", "last position now", "then", "revision"):
        table.add_column(column, justify="left" if column == "service" else "right")
    for each in plan.replacements:
        part, present = each.part, each.present
        table.add_row(
            part.service,
            "unreadable or none" if present is None else f"{sum(present['rows'].values()):,}",
            f"{sum(part.rows.values()):,}",
            "" if present is None else f"{present['position']:,}",
            f"{part.position:,}",
            part.revision,
        )
    err.print(table)
    if not plan.is_complete:
        say(
            "The others stay newer: what this forgets, they remember. See `farmgate verify`.",
            console=err,
        )
    if not ask("Replace what is there now?"):
        raise Failed("Nothing was replaced.")


def _show(done: Restored, plan: Plan) -> None:
    for each in plan.replacements:
        name = each.settings.service
        say(("✓", "green"), f" {name}: as of {plan.found.made_at:%Y-%m-%d %H:%M:%S} UTC")
    for name, kept in done.kept.items():
        say(f"  what {name} held before: {kept}")
    for name, count in done.again.items():
        say(f"  {name} publishes {count:,} events again when it starts")
    say("Keys were not in the set. Next: start the services, then run farmgate verify")
