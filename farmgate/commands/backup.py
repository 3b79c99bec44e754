"""`farmgate backup`: a consistent backup set of the four databases."""

import os
from pathlib import Path

import click
from rich.table import Table

from farmgate.backup import creating, manifest
from farmgate.backup.manifest import Manifest
from farmgate.backup.progress import progress_bars
from farmgate.broker_address import broker_of
from farmgate.console import echo, echo_json, err, out
from farmgate.failures import Failed, Unreachable
from farmgate.integrators import Account, accounts
from farmgate.management import management_of
from farmgate.services import NAMES
from shared.runtime.config import Settings


@click.command("backup")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--check", "only_check", is_flag=True, help="Only check that the set is complete.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
def command(folder: Path, only_check: bool, as_json: bool) -> None:
    """Write a consistent copy of all four services' databases into a new FOLDER.

    The set also has the integrators, if the broker's management API can be asked: `farmgate
    integrators restore` creates them again at a broker that lost its data.

    Services go on. Requests that record an event wait while the snapshots are taken, mostly for
    much less than a second and never for more than 5; the copies are made afterwards. PostgreSQL
    needs pg_dump here (apt-get install postgresql-client).

    The set holds personal data: only its owner can read FOLDER. It does not hold the keys
    (FARMGATE_DATA/keys, or your secrets): back them up elsewhere. An interrupted backup leaves no
    FOLDER, at most a hidden folder beside it that ends in .partial; you may delete it.

    Exit code 0: the set is complete. 1: it is not, or could not be written. 3: a database cannot
    be reached.
    """
    accounts_found, why_not = (None, None) if only_check else _integrators()
    with progress_bars() as report:
        if only_check:
            found = manifest.read(folder)
            for part in found.parts:
                manifest.check(folder, part, report(part.service, "checked"))
        else:
            every = [Settings.from_environment(name) for name in NAMES]
            found = creating.save(every, folder, report, accounts_found)
    if why_not is not None:
        echo(("!", "yellow"), f" Integrators are not in the set: {why_not}", console=err)
    if as_json:
        echo_json(found.as_json(), indent=2)
        return
    _show(folder, found)


def _integrators() -> tuple[list[Account] | None, str | None]:
    """Return the integrators, or why they are unknown; neither if no broker is set."""
    if not broker_of(os.environ):
        return None, None
    try:
        return accounts(management_of(os.environ)), None
    except (Failed, Unreachable) as error:
        # An unavailable broker does not prevent a backup of the databases.
        return None, error.message


def _show(folder: Path, found: Manifest) -> None:
    table = Table(
        title=f"{folder!s}: {found.made_at:%Y-%m-%d %H:%M:%S} UTC, Farmgate {found.farmgate}",
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
        echo(f"Integrators: {names}")
    echo(("✓", "green"), " The set is complete. The keys are not in it: back them up elsewhere.")
