"""`farmgate integrators endpoints`: partners' webhook endpoints, for partners and operators."""

import os
from datetime import datetime
from time import monotonic, sleep
from typing import Any

import click
from rich.table import Table

from farmgate.client import Client, connect
from farmgate.console import confirm, echo, show_json, show_table
from farmgate.failures import Failed
from farmgate.groups import Group
from farmgate.parameters import WholeNumber

JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
ENDPOINT = click.argument("endpoint", type=click.UUID)
MOMENT = click.DateTime(["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z", "%Y-%m-%d"])
#: Seconds that `ping` waits for the outcome.
PING_SECONDS = 30.0


@click.group("endpoints", cls=Group)
def command() -> None:
    """Webhook endpoints: URLs that partners' events are posted to, signed.

    With a partner's token (FARMGATE_TOKEN) they are its own; an operator sees those of all.
    """


@command.command("add")
@click.argument("url")
@click.option("--partner", help="Whose endpoint it is; by default the token's own subject.")
@click.option(
    "--events",
    "types",
    multiple=True,
    metavar="PATTERN",
    help="Only these events, such as 'orders.order_*'; may be repeated.",
)
@click.option("--after", metavar="CURSOR", help="Begin behind this cursor, not with new events.")
@click.option("--description", help="A few words for people.")
@JSON
def add(
    url: str,
    partner: str | None,
    types: tuple[str, ...],
    after: str | None,
    description: str | None,
    as_json: bool,
) -> None:
    """Add an endpoint at URL, and print the secret that signs its messages."""
    body: dict[str, Any] = {"url": url, "types": list(types), "description": description}
    body |= _given(partner=partner, after=after)
    created = connect(os.environ).post("events", "/endpoints", body)
    if as_json:
        show_json(created)
        return
    _show(created)
    echo(f"{'secret':<14}{created['secret']}")


@command.command("list")
@click.option("--partner", help="Only this partner's endpoints.")
@JSON
def list_(partner: str | None, as_json: bool) -> None:
    """List endpoints with their state."""
    found = list(connect(os.environ).pages("events", "/endpoints", partner=partner))
    if as_json:
        show_json(found)
    elif not found:
        echo("There are no endpoints. Add one: farmgate integrators endpoints add URL")
    else:
        table = Table("endpoint", "partner", "url", "state", "position", box=None)
        for each in found:
            table.add_row(
                each["endpoint_id"],
                each["partner"],
                each["url"],
                _state(each),
                str(each["position"]),
            )
        show_table(table)


@command.command("show")
@ENDPOINT
@JSON
def show(endpoint: Any, as_json: bool) -> None:
    """Show an endpoint."""
    _print(connect(os.environ).get("events", f"/endpoints/{endpoint}"), as_json)


@command.command("change")
@ENDPOINT
@click.option("--url", help="Its new URL; deliveries that wait go there, too.")
@click.option("--events", "types", multiple=True, metavar="PATTERN", help="Its new events.")
@click.option("--all-events", is_flag=True, help="All events of the subscription again.")
@click.option("--description", help="A few words for people.")
@JSON
def change(
    endpoint: Any,
    url: str | None,
    types: tuple[str, ...],
    all_events: bool,
    description: str | None,
    as_json: bool,
) -> None:
    """Change an endpoint's URL, events or description."""
    changes: dict[str, Any] = _given(url=url, description=description)
    if types or all_events:
        changes["types"] = [] if all_events else list(types)
    if not changes:
        raise click.UsageError("Give --url, --events, --all-events or --description.")
    client = connect(os.environ)
    _print(client.call("PATCH", "events", f"/endpoints/{endpoint}", body=changes), as_json)


@command.command("remove")
@ENDPOINT
@click.option("--yes", is_flag=True, help="Skip the confirmation.")
def remove(endpoint: Any, yes: bool) -> None:
    """Remove an endpoint with its log; the partner's events stay in its feed."""
    client = connect(os.environ)
    shown = client.get("events", f"/endpoints/{endpoint}")
    if not yes:
        confirm(f"Remove the endpoint at {shown['url']}, with its log?", abort=True)
    client.call("DELETE", "events", f"/endpoints/{endpoint}")
    echo(f"Removed {endpoint}.")


@command.command("suspend")
@ENDPOINT
@JSON
def suspend(endpoint: Any, as_json: bool) -> None:
    """Stop deliveries; the endpoint keeps its place."""
    _print(connect(os.environ).post("events", f"/endpoints/{endpoint}/suspend"), as_json)


@command.command("resume")
@ENDPOINT
@JSON
def resume(endpoint: Any, as_json: bool) -> None:
    """Go on where deliveries stopped; retries that wait are made at once."""
    _print(connect(os.environ).post("events", f"/endpoints/{endpoint}/resume"), as_json)


@command.command("secret")
@ENDPOINT
@click.option("--rotate", is_flag=True, help="Make a new secret.")
@click.option(
    "--overlap-hours",
    type=WholeNumber(0, 168),
    help="With --rotate: how long the secret before signs, too; 24 by default.",
)
@JSON
def secret(endpoint: Any, rotate: bool, overlap_hours: int | None, as_json: bool) -> None:
    """Print the secret that signs an endpoint's messages; that it was shown is recorded."""
    client = connect(os.environ)
    if overlap_hours is not None and not rotate:
        raise click.UsageError("--overlap-hours needs --rotate.")
    if rotate:
        body = _given(overlap_hours=overlap_hours)
        answer = client.post("events", f"/endpoints/{endpoint}/secret/rotate", body)
    else:
        answer = client.get("events", f"/endpoints/{endpoint}/secret")
    if as_json:
        show_json(answer)
        return
    echo(answer["secret"])
    if answer["previous_secret_until"]:
        echo(f"The secret before signs, too, until {answer['previous_secret_until']}.")


@command.command("ping")
@ENDPOINT
@JSON
def ping(endpoint: Any, as_json: bool) -> None:
    """Send a signed test event, and print what the server answered."""
    client = connect(os.environ)
    sent = client.post("events", f"/endpoints/{endpoint}/ping")
    deadline = monotonic() + PING_SECONDS
    while sent["finished_at"] is None and monotonic() < deadline:
        sleep(0.2)
        sent = _delivery(client, endpoint, sent["delivery_id"])
    if as_json:
        show_json(sent)
    elif sent["tries"]:
        echo(_outcome(sent["tries"][-1]))
    if sent["status"] != "delivered":
        raise Failed(
            "The ping was not delivered: see the server's log."
            if sent["tries"]
            else f"The ping was not sent within {PING_SECONDS:.0f} s: does notifications' worker "
            "run?"
        )


@command.command("log")
@ENDPOINT
@click.option(
    "--status", type=click.Choice(["waiting", "retrying", "delivered", "expired", "failed"])
)
@click.option("--subject", help="Only the events of this subject, such as order/0198….")
@click.option("--limit", type=WholeNumber(1, 200), default=20, show_default=True)
@JSON
def log(endpoint: Any, status: str | None, subject: str | None, limit: int, as_json: bool) -> None:
    """List an endpoint's newest deliveries, with their last attempt and the next one."""
    path = f"/endpoints/{endpoint}/deliveries"
    query = {"status": status, "subject": subject, "limit": limit}
    found = connect(os.environ).get("events", path, **query)["items"]
    if as_json:
        show_json(found)
        return
    table = Table("delivery", "event", "state", "attempts", "last attempt", "next", box=None)
    for each in found:
        table.add_row(
            each["delivery_id"],
            each["type"],
            each["status"],
            str(each["attempts"]),
            _outcome(each["tries"][-1]) if each["tries"] else "",
            each["next_try_at"] or "",
        )
    show_table(table)


@command.command("resend")
@ENDPOINT
@click.option("--delivery", type=click.UUID, help="One delivery, by its id in the log.")
@click.option("--after", metavar="CURSOR", help="The events behind this cursor.")
@click.option("--until", metavar="CURSOR", help="Up to the event of this cursor.")
@click.option("--since", type=MOMENT, help="The events from this moment on, such as 2026-08-20.")
@click.option("--before", type=MOMENT, help="Up to this moment.")
@JSON
def resend(
    endpoint: Any,
    delivery: Any,
    after: str | None,
    until: str | None,
    since: datetime | None,
    before: datetime | None,
    as_json: bool,
) -> None:
    """Send events once more: one, a range, or all since a cursor or a moment (in UTC)."""
    body = _given(after=after, until=until, since=_utc(since), before=_utc(before))
    if (delivery is None) == (not body):
        raise click.UsageError("Give --delivery, or the start of a range: --after or --since.")
    client = connect(os.environ)
    path = f"/endpoints/{endpoint}/resend"
    if delivery is not None:
        path = f"/endpoints/{endpoint}/deliveries/{delivery}/resend"
    answer = client.post("events", path, body)
    if as_json:
        show_json(answer)
    elif delivery is not None:
        echo(f"{delivery} is {answer['status']}.")
    else:
        count = max(0, answer["until"] - answer["after"])
        echo(f"{count} events are sent again, those that the endpoint wants.")


def _print(endpoint: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show_json(endpoint)
    else:
        _show(endpoint)


def _show(endpoint: dict[str, Any]) -> None:
    rows = {
        "endpoint": endpoint["endpoint_id"],
        "partner": endpoint["partner"],
        "url": endpoint["url"],
        "events": " ".join(endpoint["types"]) or "all of the subscription",
        "state": _state(endpoint),
        "position": str(endpoint["position"]),
    }
    for label, value in rows.items():
        echo(f"{label:<14}{value}")


def _state(endpoint: dict[str, Any]) -> str:
    if endpoint["status"] != "active":
        return f"{endpoint['status']} ({endpoint['reason']})"
    if endpoint["failing_since"]:
        return f"active, fails since {endpoint['failing_since']}"
    return "active"


def _outcome(attempt: dict[str, Any]) -> str:
    outcome = attempt["reason"] or f"http_{attempt['status']}"
    return f"{outcome} in {attempt['milliseconds']} ms"


def _delivery(client: Client, endpoint: Any, delivery_id: str) -> dict[str, Any]:
    return dict(client.get("events", f"/endpoints/{endpoint}/deliveries/{delivery_id}"))


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _utc(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.isoformat() + ("Z" if moment.tzinfo is None else "")
