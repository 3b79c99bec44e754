"""`farmgate backup`: the four databases as one set."""

import os
from pathlib import Path

import click
from rich.table import Table

from farmgate.backup import creating, manifest
from farmgate.backup.manifest import Manifest
from farmgate.backup.progress import progress_bars
from farmgate.broker_address import broker_of
from farmgate.console import err, out, say, say_json
from farmgate.failures import Failed, Unreachable
from farmgate.integrators import Account, accounts
from farmgate.management import management_of
from farmgate.services import NAMES
from shared.runtime.config import Settings


@click.command("backup")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--check", "only_check", is_flag=True, help="Say whether FOLDER is a whole set.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
def command(folder: Path, only_check: bool, as_json: bool) -> None:
    """Write the databases of all four services, as they are at one moment, into a new FOLDER.

    Beside them who the integrators are, where the broker's management API tells it: `farmgate
    integrators restore` gives them back to a broker that lost its data.

    Services run on. Whoever records an event waits while the moment is taken, 5 seconds at most
    and mostly far less than one; the copies are made afterwards. PostgreSQL needs pg_dump here
    (apt-get install postgresql-client).

    The set holds personal data: FOLDER is readable by its owner alone. It does not hold the keys
    (FARMGATE_DATA/keys, or your secrets): keep those elsewhere. A backup that was interrupted
    leaves no FOLDER, at most a hidden one ending in .partial beside it that may be deleted.

    Exit code 0: the set is whole. 1: it is not, or could not be written. 3: a database cannot be
    reached.
    """
    known, unknown = (None, None) if only_check else _integrators()
    with progress_bars() as report:
        if only_check:
            found = manifest.read(folder)
            for part in found.parts:
                manifest.check(folder, part, report(part.service, "checked"))
        else:
            every = [Settings.from_environment(name) for name in NAMES]
            found = creating.save(every, folder, report, known)
    if unknown is not None:
        say(("!", "yellow"), f" Integrators are not in the set: {unknown}", console=err)
    if as_json:
        say_json(found.as_json(), indent=2)
        return
    _show(folder, found)


def _integrators() -> tuple[list[Account] | None, str | None]:
    """Return who the integrators are, or why that is not known; neither where no broker is set."""
    if not broker_of(os.environ):
        return None, None
    try:
        return accounts(management_of(os.environ)), None
    except (Failed, Unreachable) as error:
        # The databases are what matters most: a broker that is away stops no backup.
        return None, error.message


def _show(folder: Path, found: Manifest) -> None:
    table = Table(
        title=f"{folder!s}: of {found.made_at:%Y-%m-%d %H:%M:%S} UTC, Farmgate {found.farmgate}",
        title_justify="left",
    )
    for column in ("service", "kind", "revision"):
        table.add_column(column)
    for column in ("rows", "last position", "bytes"):
        table.add_column(column, justify="right")
    for part in found.parts:
        table.add_row(
            *(part.service, part.kind, part.revision),
            *(f"{sum(part.rows.values()):,}", f"{part.position:,}", f"{part.bytes:,}"),
        )
    out.print(table)
    if found.integrators:
        names = ", ".join(account.integrator.name for account in found.integrators)
        say(f"Integrators: {names}")
    say(("✓", "green"), " The set is whole. The keys are not in it: keep them elsewhere.")
