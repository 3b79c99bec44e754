"""`farmgate import`: import a spreadsheet into the running services."""

import os
from typing import Any

import click
from rich.table import Table

from farmgate.client import connect
from farmgate.console import echo, echo_json, err, out
from farmgate.failures import Failed, Refused
from farmgate.spreadsheets import KINDS, kind_of
from shared.runtime.spreadsheets import CODECS, MOST_BYTES, SEPARATORS, NotCsv, WrongEncoding

#: Seconds that the largest file may take, and seconds for which the request is retried.
SECONDS, PATIENCE = 130, 600


@click.command("import")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--kind", type=click.Choice(list(KINDS)), help="The kind of rows; by default, from the header."
)
@click.option("--dry-run", is_flag=True, help="Only show errors and changes.")
@click.option(
    "--encoding", type=click.Choice(list(CODECS)), help="By default, detected from the file."
)
@click.option(
    "--separator", type=click.Choice(list(SEPARATORS)), help="By default, detected from the header."
)
@click.option(
    "--dates",
    type=click.Choice(["dmy", "mdy"]),
    help="The order of day and month in dates such as 5/11/2026.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
def command(
    file: Any,
    kind: str | None,
    dry_run: bool,
    encoding: str | None,
    separator: str | None,
    dates: str | None,
    as_json: bool,
) -> None:
    """Import the rows of a CSV FILE (`-`: standard input), all of them or none.

    FILE has a header and at most 20,000 rows: sites, enterprises, products, prices, lots or stock,
    as `farmgate export` writes them and spreadsheet programs save them. Values of a missing column
    stay; an empty cell clears a value. To import a file again changes nothing. If there are
    errors, they are listed by line, nothing is imported, and the exit code is 1.
    """
    data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise Failed(f"The file is larger than {MOST_BYTES // 1024 // 1024} MB; split it.")
    try:
        kind = kind or kind_of(data, encoding, separator)
    except (NotCsv, WrongEncoding) as error:
        raise Failed(error.detail) from error
    if kind is None:
        raise Failed(
            "The header does not identify the kind of rows. Give --kind, and compare the header "
            "with that of `farmgate export`."
        )
    query = {"encoding": encoding, "separator": separator, "dates": dates}
    with err.status(f"Importing {kind} …"):
        try:
            answer = connect(os.environ, PATIENCE).call(
                "POST",
                KINDS[kind].service,
                f"/imports/{kind}",
                query=query | ({"dry_run": "true"} if dry_run else {}),
                content=data,
                headers={"Content-Type": "text/csv"},
                seconds=SECONDS,
            )
        except Refused as error:
            if error.kind != "import-refused":
                raise
            answer = error.problem
    errors = answer["errors"]
    if as_json:
        echo_json(answer, indent=2)
    else:
        _show(kind, answer)
    if errors:
        raise Failed(answer.get("detail") or "These lines would be refused; nothing was imported.")


def _show(kind: str, answer: dict[str, Any]) -> None:
    for error in answer["errors"]:
        column = f", {error['column']}" if error["column"] else ""
        echo(f"line {error['line']}{column}: {error['message']}")
    if answer.get("changes"):
        table = Table(title="Changes", title_justify="left")
        for title in ("line", "what", "column", "before", "after", "difference"):
            table.add_column(title, overflow="fold")
        for change in answer["changes"]:
            before, after = change["before"], change["after"]
            numbers = all(type(each) is int for each in (before, after))
            table.add_row(
                str(change["line"]),
                change["name"],
                change["column"],
                "" if before is None else str(before),
                "" if after is None else str(after),
                f"{after - before:+,}" if numbers else "",
            )
        out.print(table)
    if "rows" in answer:
        would = "would be " if answer["dry_run"] else ""
        echo(
            f"{answer['rows']:,} {kind} rows ({answer['encoding']}, {answer['separator']}): "
            f"{answer['created']:,} {would}new, {answer['changed']:,} {would}changed, "
            f"{answer['unchanged']:,} unchanged."
        )
