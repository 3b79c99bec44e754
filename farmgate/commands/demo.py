"""`farmgate demo`: orders of every kind, or disconnected stations, with a check of the result."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from demo import books, running
from demo.living import Lived
from demo.offline import clerk
from demo.offline import running as offline_running
from demo.payments import provider
from demo.stories import WAITING
from farmgate.client import Client, connect
from farmgate.console import OK, WRONG, Label, echo, echo_json, err, out
from farmgate.parameters import Seconds, WholeNumber

SEED = 2021
#: Seconds a request is retried: a killed process may need as long to restart.
PATIENCE = 90.0
#: The same for the first request; short, in case nothing runs.
BEGINNING_PATIENCE = 5.0
#: Problems that are printed; more are mostly of the same kind.
SHOWN = 20


@click.command("demo")
@click.option("--orders", "count", type=WholeNumber(1, 10_000), default=200, show_default=True)
@click.option(
    "--seed",
    type=WholeNumber(0),
    default=SEED,
    show_default=True,
    help="The same seed plans the same orders.",
)
@click.option("--offline", is_flag=True, help="Stations that sell while they are disconnected.")
@click.option(
    "--steps",
    type=WholeNumber(clerk.RESTORED_AT + 1),
    default=clerk.STEPS,
    show_default=True,
    help="With --offline: the number of steps of each station.",
)
@click.option(
    "--patience",
    type=Seconds(min=0),
    default=running.SETTLING_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long the balances may take to settle.",
)
@click.option("--json", "as_json", is_flag=True, help="Print outcomes, stock and balance as JSON.")
def command(
    count: int, seed: int, offline: bool, steps: int, patience: float, as_json: bool
) -> None:
    """Send varied orders through the running services and check the books.

    The demo plays buyer, payment provider, clerk and carrier. Its orders are delivered, collected,
    paid in advance or in cash, out of stock, cancelled, never paid, refused and returned. Then it
    compares every order's outcome and every gram of stock with the plan. Nobody else should order
    meanwhile.

    With --offline, 20 devices of stations sell from lots that online buyers empty at the same
    time. Their links fail, lose, duplicate and delay messages; the power fails; one device is
    restored from a backup; one lot is held and another recalled. At the end all sales are uploaded,
    disputes are settled, and devices, centre and services are compared with each other.

    You may kill and restart processes meanwhile.

    Unpaid orders expire only if the hold is short (farmgate up --hold 20); otherwise they stay
    unpaid and are counted separately.

    Exit code 0: every order has its outcome and the books balance. 1: one does not.
    """
    client = connect(os.environ, patience=PATIENCE)
    client.call("GET", "catalog", "/products", query={"limit": 1}, patience=BEGINNING_PATIENCE)
    if offline:
        _run_offline(client, seed, steps, as_json)
        return
    with _progress() as bars:
        task = bars.add_task("orders", total=count)

        def lived(life: Lived) -> None:
            bars.update(task, advance=1, description=f"{life.order_ref} {life.story.title}"[:40])

        def waiting(what: str) -> None:
            bars.update(task, description=f"waiting: {what}")

        result = running.run(
            client, provider(client, os.environ), seed, count, lived, waiting, patience
        )
    if as_json:
        echo_json(result.as_json(), indent=2)
    else:
        _show(result)
    if result.troubled or not result.balanced:
        raise SystemExit(1)


@contextmanager
def _progress() -> Iterator[Progress]:
    with Progress(
        Label(40),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
    ) as bars:
        yield bars


def _show(result: running.Result) -> None:
    out.print(_outcomes(result.lives))
    out.print(_stock(result))
    troubles = [
        f"{life.order_ref or 'an order'} ({life.planned.story.title}): {life.trouble}"
        for life in result.troubled
    ]
    troubles += result.wrong
    for trouble in troubles[:SHOWN]:
        echo(("✗", "red"), f" {trouble}")
    if len(troubles) > SHOWN:
        echo(f"… and {len(troubles) - SHOWN} more; --json lists all.")
    waiting = sum(life.story is WAITING for life in result.lives)
    if waiting:
        echo(
            f"{waiting} orders are unpaid and still hold their stock; `farmgate up --hold 20` "
            "lets them expire."
        )
    if not result.troubled and result.balanced:
        echo(("✓", "green"), " Every order has its outcome, and the books balance.")
    example = next((life for life in result.lives if life.state == "completed"), None)
    if example is not None:
        echo(f"See one of them: farmgate trace {example.order_ref}")


def _outcomes(lives: list[Lived]) -> Table:
    table = Table(title="Outcomes of the orders", title_justify="left")
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
        mark = OK if well else WRONG
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
        mark = WRONG if product in wrong else OK
        table.add_row(product, *(f"{number:,}" for number in numbers), mark)
    return table


def _run_offline(client: Client, seed: int, steps: int, as_json: bool) -> None:
    with _progress() as bars:
        task = bars.add_task("", total=None)

        def progress(what: str, done: int, total: int) -> None:
            bars.update(task, description=what, completed=done, total=total)

        result = offline_running.run(client, seed, progress, steps=steps)
    if as_json:
        echo_json(result.as_json(), indent=2)
    else:
        _show_offline(result)
    if not result.agrees:
        raise SystemExit(1)


#: Heading → key of each column about a device.
DEVICE_COLUMNS = {
    "sold": "sold",
    "void": "voided",
    "back": "taken_back",
    "sent": "uploads",
    "down": "outages",
    "lost": "lost_answers",
    "cuts": "power_cuts",
    "disp.": "disputed",
}


def _show_offline(result: offline_running.Result) -> None:
    devices = [result.of_device(ending) for ending in result.endings]
    table = Table(title="Outcomes of the devices", title_justify="left")
    table.add_column("device", no_wrap=True)
    table.add_column("site", no_wrap=True)
    for heading in DEVICE_COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("remaining", justify="right", no_wrap=True)
    for device in devices:
        name = device["device"] + (f" e{device['epoch']}" if device["epoch"] > 1 else "")
        numbers = (str(device[key]) for key in DEVICE_COLUMNS.values())
        table.add_row(name, device["site"], *numbers, _amounts(device["remaining"]))
    table.add_section()
    sums = (str(sum(device[key] for device in devices)) for key in DEVICE_COLUMNS.values())
    table.add_row("all", "", *sums, "")
    out.print(table)
    echo(
        (
            "sent: uploads; down: failures of the link; lost: lost answers; cuts: power failures; "
            "e2: a second machine, which replaced one that was restored from a backup.",
            "dim",
        )
    )
    out.print(_products(result.products))
    if result.disputed:
        out.print(_disputed(result.disputed))
    for note in result.notes:
        echo(note)
    placed = ", ".join(f"{count} {state}" for state, count in sorted(result.orders.items()))
    echo(f"Online orders beside them: {placed}.")
    parcels = ", ".join(f"{count} {state}" for state, count in sorted(result.parcels.items()))
    echo(f"Parcels that tills handed over: {parcels}.")
    cash = ", ".join(
        f"{name.replace('_', ' ')} ¥{fen / 100:,.2f}" for name, fen in result.cash.items()
    )
    echo(f"Cash of the stations: {cash}.")
    troubles = result.wrong + [each.detail for each in result.verified.differences]
    for trouble in troubles[:SHOWN]:
        echo(("✗", "red"), f" {trouble}")
    if len(troubles) > SHOWN:
        echo(f"… and {len(troubles) - SHOWN} more; --json lists all.")
    if result.agrees:
        compared = sum(result.verified.checked.values())
        echo(
            OK,
            " Devices and centre agree on all remaining goods, and the four services on all "
            f"{compared:,} compared records, as farmgate verify does.",
        )


def _amounts(by_unit: dict[str, int]) -> str:
    return " + ".join(f"{count:,} {unit}" for unit, count in sorted(by_unit.items())) or "0"


def _products(products: list[dict[str, Any]]) -> Table:
    table = Table(title="Lots that stations and online buyers shared", title_justify="left")
    table.add_column("product", no_wrap=True)
    table.add_column("unit")
    columns = [key for key, value in products[0].items() if isinstance(value, int)]
    for key in columns:
        table.add_column(key.replace("_", " "), justify="right")
    for product in products:
        numbers = (f"{product[key]:,}" for key in columns)
        table.add_row(product["product"], product["unit"], *numbers)
    return table


def _disputed(disputed: list[dict[str, Any]]) -> Table:
    table = Table(title="Disputed sales, and the operator's decisions", title_justify="left")
    for heading in ("device", "number", "reason", "goods", "settled"):
        table.add_column(heading)
    for sale in disputed:
        name = f"{sale['device']}-{sale['epoch']}-{sale['number']}"
        table.add_row(sale["device"], name, sale["reason"], sale["goods"], sale["settled"])
    return table
