"""`farmgate trace`: one order's path across the four services."""

import os
from datetime import datetime

import click
from rich.table import Table
from rich.text import Text

from farmgate import trace
from farmgate.client import connect
from farmgate.console import echo, painted, show_json, show_table
from farmgate.failures import Unreachable
from shared.runtime import clock
from shared.runtime.clock import LOCAL

#: Seconds a request is retried; short, since people trace orders while a service is down.
PATIENCE = 2.0


@click.command("trace")
@click.argument("order")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(order: str, as_json: bool) -> None:
    """Show the whole path of ORDER, given by reference (ORD-…), a partner's external_ref or id.

    Its state in each service (order, stock and lots, shipment, messages), every event with the
    time until it was published and handled, the attempts of parked events, what the order waits
    for and since when, and delayed events.

    Exit code 3 if a service does not answer; the others' data is shown.
    """
    client = connect(os.environ, patience=PATIENCE)
    found = trace.gather(client, trace.find_order(client, order))
    if as_json:
        show_json(found.as_json())
    else:
        _show(found)
    if found.silent:
        raise Unreachable(" ".join(f"{name}: {why}" for name, why in found.silent.items()))


def _show(found: trace.Trace) -> None:
    for name, state in found.states.items():
        echo((name, "bold"))
        for line in trace.lines_of(state, "  "):
            echo(line)
    table = Table(title="Events (Asia/Shanghai)", title_justify="left")
    for title in ("recorded", "event", "published", "handled by"):
        table.add_column(title, overflow="fold")
    for event in found.timeline:
        handled = [painted(f"{each.service} {each.milliseconds} ms") for each in event.handled]
        for each in event.parked:
            after = f"{each.attempts} attempts, {_next(each.next_attempt_at)}"
            handled.append(painted((f"{each.service}: parked, {each.reason}, {after}", "red")))
        published = event.published_after_ms
        table.add_row(
            f"{event.recorded_at.astimezone(LOCAL):%m-%d %H:%M:%S.%f}"[:-3],
            event.type,
            painted(("not yet", "yellow")) if published is None else f"{published} ms",
            Text("\n").join(handled) if handled else "–",
        )
    show_table(table)
    if not found.waiting_for:
        echo("It waits for nothing.")
    for name, waits in found.waiting_for.items():
        for wait in waits:
            echo(("waits", "yellow"), f" for {wait['what']} ({name}){_since(wait['since'])}")
    for delay in found.held_up:
        echo(
            ("held up", "red"),
            f" at {delay.service}{_since(delay.since)}: {delay.event} is {delay.why}",
        )


def _next(moment: str | None) -> str:
    return f"next {_local(moment)}" if moment else "an operator must decide"


def _since(moment: str | None) -> str:
    if moment is None:
        return ""
    seconds = max(0, int((clock.now() - datetime.fromisoformat(moment)).total_seconds()))
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        # From two units on: "for 119 min" is more precise than "for 1 h".
        if seconds >= 2 * length:
            return f", for {seconds // length} {unit} (since {_local(moment)})"
    return f", for {seconds} s (since {_local(moment)})"


def _local(moment: str) -> str:
    return f"{datetime.fromisoformat(moment).astimezone(LOCAL):%m-%d %H:%M:%S}"
