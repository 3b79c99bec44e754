"""`farmgate backup`: the four databases as one set."""

import json
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from farmgate.backup import manifest, saving
from farmgate.backup.manifest import Manifest
from farmgate.backup.watching import progress
from farmgate.console import out
from farmgate.services import NAMES
from shared.config import Settings


@click.command("backup")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--check", "only_check", is_flag=True, help="Say whether FOLDER is a whole set.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
def command(folder: Path, only_check: bool, as_json: bool) -> None:
    """Write the databases of all four services, as they are at one moment, into a new FOLDER.

    Services run on. Whoever records an event waits while the moment is taken, 5 seconds at most
    and mostly far less than one; the copies are made afterwards. PostgreSQL needs pg_dump here
    (apt-get install postgresql-client).

    The set holds personal data: FOLDER is readable by its owner alone. It does not hold the keys
    (FARMGATE_DATA/keys, or your secrets): keep those elsewhere. A backup that was interrupted
    leaves no FOLDER, at most a hidden one ending in .partial beside it that may be deleted.

    Exit code 0: the set is whole. 1: it is not, or could not be written. 3: a database cannot be
    reached.
    """
    with progress() as watch:
        if only_check:
            found = manifest.read(folder)
            for part in found.parts:
                manifest.check(folder, part, watch(part.service, "checked"))
        else:
            every = [Settings.from_environment(name) for name in NAMES]
            found = saving.save(every, folder, watch)
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=2))
        return
    _show(folder, found)


def _show(folder: Path, found: Manifest) -> None:
    table = Table(
        title=f"{escape(str(folder))}: of {found.made_at:%Y-%m-%d %H:%M:%S} UTC, "
        f"Farmgate {escape(found.farmgate)}",
        title_justify="left",
    )
    for column in ("service", "kind", "revision"):
        table.add_column(column)
    for column in ("rows", "last position", "bytes"):
        table.add_column(column, justify="right")
    for part in found.parts:
        table.add_row(
            *(part.service, part.kind, escape(part.revision)),
            *(f"{sum(part.rows.values()):,}", f"{part.position:,}", f"{part.bytes:,}"),
        )
    out.print(table)
    out.print("[green]✓[/] The set is whole. The keys are not in it: keep them elsewhere.")
