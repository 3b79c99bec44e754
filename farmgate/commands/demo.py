"""`farmgate demo`: orders of every kind through the running system, and proof that it holds."""

import json
import os
from collections import Counter

import click
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from farmgate.client import connect
from farmgate.console import err, out
from farmgate.demo import books, running
from farmgate.demo.living import Lived
from farmgate.demo.payments import provider
from farmgate.demo.stories import WAITING

SEED = 2021
#: Seconds a call is repeated for: a process that was killed may take so long to come back.
PATIENCE = 90.0
#: The same before the first order: where nothing runs, nothing will come back.
BEGINNING_PATIENCE = 5.0
#: Troubles that are shown; more are mostly the same again.
SHOWN = 20


@click.command("demo")
@click.option("--orders", "count", type=click.IntRange(1, 10_000), default=200, show_default=True)
@click.option(
    "--seed", default=SEED, show_default=True, help="The same seed plans the same orders."
)
@click.option("--json", "as_json", is_flag=True, help="Print outcomes, stock and balance as JSON.")
def command(count: int, seed: int, as_json: bool) -> None:
    """Send varied orders through the running services and check the books.

    Delivered and collected, paid before and in cash, out of stock, cancelled, never paid, not
    taken and returned: each order is taken to its end as buyer, payment provider, clerk and
    carrier would. Then every order's outcome and every gram of stock is compared with what
    must have become of it. Meanwhile nobody else should order.

    Processes may be killed and started again meanwhile.

    Orders that are never paid expire only when the running hold is short (farmgate up --hold
    20); otherwise they are left waiting and counted as such.

    Exit code 0: every order has its outcome and the books balance. 1: not so.
    """
    client = connect(os.environ, patience=PATIENCE)
    client.call("GET", "catalog", "/products", query={"limit": 1}, patience=BEGINNING_PATIENCE)
    with Progress(
        TextColumn("{task.description:<40}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
    ) as bars:
        task = bars.add_task("orders", total=count)

        def lived(life: Lived) -> None:
            bars.update(task, advance=1, description=f"{life.order_ref} {life.story.title}"[:40])

        def waiting(what: str) -> None:
            bars.update(task, description=f"waiting: {what}")

        result = running.run(client, provider(client, os.environ), seed, count, lived, waiting)
    if as_json:
        click.echo(json.dumps(result.as_json(), ensure_ascii=False, indent=2))
    else:
        _show(result)
    if result.troubled or not result.balanced:
        raise SystemExit(1)


def _show(result: running.Result) -> None:
    out.print(_outcomes(result.lives))
    out.print(_stock(result))
    troubles = [
        f"{life.order_ref or 'an order'} ({life.planned.story.title}): {life.trouble}"
        for life in result.troubled
    ]
    troubles += result.wrong
    for trouble in troubles[:SHOWN]:
        out.print(f"[red]✗[/] {escape(trouble)}", soft_wrap=True)
    if len(troubles) > SHOWN:
        out.print(f"… and {len(troubles) - SHOWN} more; --json lists all.")
    waiting = sum(life.story is WAITING for life in result.lives)
    if waiting:
        out.print(
            f"{waiting} orders are unpaid and still hold their stock; `farmgate up --hold 20` "
            "would let them expire."
        )
    if not result.troubled and result.balanced:
        out.print("[green]✓[/] Every order has its outcome, and the books balance.")
    example = next((life for life in result.lives if life.state == "completed"), None)
    if example is not None:
        out.print(f"See one of them: farmgate trace {example.order_ref}")


def _outcomes(lives: list[Lived]) -> Table:
    table = Table(title="What became of the orders", title_justify="left")
    table.add_column("story", no_wrap=True)
    table.add_column("orders", justify="right")
    table.add_column("order is")
    table.add_column("payment is")
    table.add_column("")
    rows: Counter[tuple[str, str, str, bool]] = Counter(
        (life.story.title, life.state or "?", life.payment_state or "?", life.trouble is None)
        for life in lives
    )
    for (title, state, payment, well), count in sorted(rows.items(), key=lambda row: -row[1]):
        mark = "[green]✓[/]" if well else "[red]✗[/]"
        table.add_row(title, str(count), state, payment, mark)
    table.add_section()
    table.add_row("all", str(len(lives)))
    return table


def _stock(result: running.Result) -> Table:
    table = Table(title="Stock (grams or pieces)", title_justify="left")
    table.add_column("product", no_wrap=True)
    for title in ("before", "after", "gone", "available", "reserved", "committed"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("balance")
    before, after = books.by_product(result.before), books.by_product(result.after)
    wrong = {sentence.partition(":")[0].rpartition("-")[0] for sentence in result.wrong}
    for product, now in after.items():
        earlier = before.get(product, Counter())
        numbers = (
            earlier["on_hand"],
            now["on_hand"],
            earlier["on_hand"] - now["on_hand"],
            now["available"],
            now["reserved"],
            now["committed"],
        )
        mark = "[red]✗[/]" if product in wrong else "[green]✓[/]"
        table.add_row(product, *(f"{number:,}" for number in numbers), mark)
    return table
