"""`farmgate integrators` and `farmgate events` for partners' feeds, on a running system."""

import itertools
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner, Result

from demo.sample import goods
from farmgate import run_file
from farmgate.cli import main
from farmgate.client import connect
from farmgate.commands import feeds
from farmgate.http_server import GRACE
from services.notifications.rules.feed import GRANTS
from tests.support.forking import Program
from tests.support.servers import free_port, wait_until

Farmgate = Callable[..., Result]


def _start(data: Path) -> tuple[Program, run_file.Run]:
    """Start an embedded system without data."""
    environment = {**os.environ, "FARMGATE_DATA": str(data)}
    port = str(free_port())
    process = Program("farmgate", ["up", "--port", port], environment, data / "out")
    wait_until(lambda: run_file.read(data) is not None, 30, "it runs")
    run = run_file.read(data)
    assert run is not None
    run.settings["data"] = str(data)
    return process, run


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[run_file.Run]:
    """An embedded system that all tests here share."""
    process, run = _start(tmp_path_factory.mktemp("up"))
    yield run
    process.kill()
    process.wait()


@pytest.fixture
def command(running: run_file.Run, monkeypatch: pytest.MonkeyPatch) -> Farmgate:
    """Run a command beside it."""
    monkeypatch.setenv("FARMGATE_DATA", running.settings["data"])

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, list(arguments))

    return run


def _json(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_an_operator_subscribes_grants_lists_and_removes(command: Farmgate) -> None:
    made = _json(command("integrators", "subscribe", "market", "--json"))
    granted = _json(command("integrators", "subscribe", "market", "--grant", "lots", "--json"))
    chosen = _json(command("integrators", "subscribe", "market", "--events", "orders.*", "--json"))
    same = _json(command("integrators", "subscribe", "market", "--json"))
    listed = _json(command("integrators", "subscriptions", "--json"))
    log = _json(command("integrators", "log", "market", "--json"))
    table = command("integrators", "subscriptions")
    removed = command("integrators", "unsubscribe", "market", "--yes")

    assert made["grants"] == made["types"] == []
    assert "catalog.lot_recalled.v1" in granted["wide_types"]
    assert chosen["types"] == ["orders.*"]
    assert {each.split(".")[0] for each in chosen["own_types"]} == {"orders"}
    assert (same["types"], same["grants"]) == (["orders.*"], ["lots"])
    assert "market" in [each["partner"] for each in listed]
    assert "market" in table.output
    assert log[0]["action"] == "subscription_changed"
    assert removed.exit_code == 0
    assert command("integrators", "log", "market").output.count("unsubscribed") == 1
    assert command("integrators", "unsubscribe", "market", "--yes").exit_code == 1


def test_a_partners_token_reads_its_feed_and_can_be_revoked(
    command: Farmgate, running: run_file.Run
) -> None:
    command("integrators", "subscribe", "shop")
    token = command("integrators", "token", "shop").stdout.strip()
    reader = _json(command("integrators", "token", "shop", "--read-only", "--json"))

    def status(bearer: str) -> int:
        headers = {"Authorization": f"Bearer {bearer}"}
        url = f"{running.url}/api/events/v1/events"
        return requests.get(url, headers=headers, timeout=5).status_code

    assert reader["scopes"] == ["events:read"]
    assert [status(token), status(reader["token"])] == [200, 200]
    assert command("tokens", "revoke", "--subject", "shop").exit_code == 0
    assert [status(token), status(reader["token"])] == [401, 401]


def test_a_feed_is_printed_and_ends_with_its_cursor(command: Farmgate) -> None:
    command("integrators", "subscribe", "mill")

    printed = command("events", "feed", "--partner", "mill")
    unknown = command("events", "feed", "--partner", "nobody")

    assert printed.exit_code == 0
    assert printed.stdout == ""
    assert "--after" in printed.stderr
    assert unknown.exit_code == 1
    assert "no subscription of nobody" in unknown.output


def test_a_stream_sends_an_event_at_once_and_ends_with_its_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARMGATE_DATA", str(tmp_path))
    process, run = _start(tmp_path)

    def command(*arguments: str) -> str:
        done = CliRunner().invoke(main, list(arguments))
        assert done.exit_code == 0, done.output
        return done.stdout.strip()

    try:
        command("integrators", "subscribe", "map", "--events", "logistics.site_opened.v1")
        bearer = {"Authorization": f"Bearer {command('integrators', 'token', 'map')}"}
        answer = requests.get(
            f"{run.url}/api/events/v1/events",
            headers={**bearer, "Accept": "text/event-stream"},
            stream=True,
            timeout=(5, 20),
        )
        lines = answer.iter_lines()
        assert next(lines) == b"retry: 2000"
        site = {"code": "540400", "level": "centre", "parent_code": None, "names": {"zh": "林芝"}}
        connect(os.environ).post("logistics", "/sites", site)
        (event_id, data) = (line for line in itertools.islice(lines, 3) if line)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        rest = list(lines)
        process.wait(20)
        seconds = time.monotonic() - began
    finally:
        process.kill()
        process.wait()

    assert event_id.startswith(b"id: ")
    assert json.loads(data.removeprefix(b"data: "))["position"] == 1
    assert not any(line.startswith(b"data") for line in rest)
    assert seconds < GRACE


def test_the_command_knows_every_grant() -> None:
    assert set(feeds.GRANTS) == set(GRANTS)


def test_commands_find_the_broker_of_a_running_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    up = {
        "FARMGATE_DATA": str(tmp_path),
        "FARMGATE_BROKER_URL": "amqp://user:secret@127.0.0.1:1/",
        "FARMGATE_BROKER_MANAGEMENT_URL": "http://user:secret@127.0.0.1:2",
        "FARMGATE_ORDERS_DATABASE_URL_FILE": "/secret/orders",
        "FARMGATE_TOKEN": "no server",
    }
    named = run_file.settings_of(up)
    run_file.write(tmp_path, run_file.Run(os.getpid(), "http://x", {}, settings=named))
    mine = {"FARMGATE_DATA": str(tmp_path)}
    other = mine | {"FARMGATE_BROKER_URL": "amqp://elsewhere/"}

    assert named.keys() == up.keys() - {"FARMGATE_DATA", "FARMGATE_TOKEN"}
    assert run_file.with_settings(mine) == mine | named
    assert run_file.with_settings(other) == other
    assert run_file.path(tmp_path).stat().st_mode & 0o077 == 0
    monkeypatch.setattr(os, "environ", {**os.environ, **mine})
    done = CliRunner().invoke(main, ["integrators", "list"])
    assert done.exit_code == 3
    assert "127.0.0.1:2" in done.output


def test_the_goods_of_readmes_first_order_are_in_stock_on_each_day_of_the_year() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (product,) = {part.split('"')[0] for part in readme.split("products?code=")[1:]}
    wanted = [each for each in goods.variants() if each.product == product]
    days = [date(2026, 1, 1) + timedelta(days=number) for number in range(365)]

    assert wanted
    assert all(goods.harvests(variant, day) for variant in wanted for day in days)
