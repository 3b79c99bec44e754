"""`farmgate export`: export a spreadsheet from the running services."""

import os

import click

from farmgate.client import connect
from farmgate.console import echo, err
from farmgate.failures import Failed
from farmgate.spreadsheets import KINDS


@click.command("export")
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.option(
    "-o",
    "--output",
    type=click.File("wb", atomic=True),
    default="-",
    help="The file to write; standard output by default.",
)
def command(kind: str, output: click.File) -> None:
    """Export KIND as a CSV file for `farmgate import` and spreadsheet programs.

    Edit the file and import it. In stock, enter the counted quantity in `on_hand` and the time of
    the count in `counted_at`; do not change `book` and `book_at`.
    """
    text = connect(os.environ).get(KINDS[kind].service, f"/exports/{kind}.csv")
    try:
        output.write(text.encode())  # type: ignore[attr-defined]
        output.flush()  # type: ignore[attr-defined]
    except OSError as error:
        raise Failed(f"The file could not be written: {error.strerror}.") from error
    echo(f"{text.count(chr(10)) - 1:,} lines of {kind}.", console=err)
