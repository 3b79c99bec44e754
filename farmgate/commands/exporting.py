"""`farmgate export`: a spreadsheet of what the running services keep."""

import os

import click

from farmgate.client import connect
from farmgate.console import err, say
from farmgate.failures import Failed
from farmgate.spreadsheets import KINDS


@click.command("export")
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.option(
    "-o",
    "--output",
    type=click.File("wb", atomic=True),
    default="-",
    help="The file to write; standard output else.",
)
def command(kind: str, output: click.File) -> None:
    """Export KIND as the CSV that `farmgate import` takes; spreadsheet programs open it.

    Fill in what changed and import the file. In stock, write what was counted into `on_hand` and
    when into `counted_at`, and leave `book` and `book_at` as they are.
    """
    text = connect(os.environ).get(KINDS[kind].service, f"/exports/{kind}.csv")
    try:
        output.write(text.encode())  # type: ignore[attr-defined]
        output.flush()  # type: ignore[attr-defined]
    except OSError as error:
        raise Failed(f"The file could not be written: {error.strerror}.") from error
    say(f"{text.count(chr(10)) - 1:,} lines of {kind}.", console=err)
