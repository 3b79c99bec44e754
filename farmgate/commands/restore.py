"""`farmgate restore`: restore the databases from a backup set."""

import os
from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table

from farmgate.backup import restoring
from farmgate.backup.progress import progress_bars
from farmgate.backup.restoring import Plan, Restored
from farmgate.broker_address import broker_of
from farmgate.console import confirm, echo, echo_json, err
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
    help="Restore only this service; may be repeated. All four by default.",
)
@click.option("--yes", is_flag=True, help="Skip the confirmation.")
@click.option(
    "--keep/--no-keep",
    default=True,
    help="First back up the PostgreSQL databases to FARMGATE_DATA/before-restore-…. Use --no-keep "
    "for a database that is too damaged to be copied. SQLite files are always kept.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON; needs --yes.")
def command(folder: Path, services: tuple[str, ...], yes: bool, keep: bool, as_json: bool) -> None:
    """Replace the present databases by those of a set that `farmgate backup` wrote.

    Stop all processes of all four services first; nothing is replaced while one is connected.
    Each database is replaced completely or stays unchanged; after an interruption, run this again
    before you start a service. A set of an older version is migrated.

    When the services start, they publish events again that another service lacks; events that took
    effect already are dropped. Then run `farmgate verify`. After a restore of all four services
    they agree; after a restore of one, it lists the records that this service lost.

    Exit code 0: restored. 1: refused or failed, with the reason. 3: a database or the broker cannot
    be reached.
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
        echo_json(asdict(done), indent=2)
    else:
        _show(done, plan)


def _ask(plan: Plan) -> None:
    table = Table(
        title=f"Backup set of {plan.found.made_at:%Y-%m-%d %H:%M:%S} UTC", title_justify="left"
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
        echo(
            "The other services keep newer records that these lose. See `farmgate verify`.",
            console=err,
        )
    if not confirm("Replace the present databases?"):
        raise Failed("Nothing was replaced.")


def _show(done: Restored, plan: Plan) -> None:
    for each in plan.replacements:
        name = each.settings.service
        echo(("✓", "green"), f" {name}: as of {plan.found.made_at:%Y-%m-%d %H:%M:%S} UTC")
    for name, kept in done.kept.items():
        echo(f"  old database of {name}: {kept}")
    for name, count in done.again.items():
        echo(f"  {name} publishes {count:,} events again when it starts")
    echo("The set has no keys. Next: start the services, then run farmgate verify")
