"""The example receivers: each signed event once, and nothing else."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from standardwebhooks.webhooks import Webhook

from tests.support.servers import wait_until

FOLDER = Path(__file__).parents[2] / "examples" / "webhook"
SECRET = "whsec_c2VjcmV0IG9mIGEgdGVzdCBvZiB0aGUgcmVjZWl2ZXI="


def _event(number: int) -> tuple[str, dict[str, str]]:
    event = {"id": f"e-{number}", "type": "orders.order_paid.v1", "subject": "order/1"}
    body = json.dumps({"specversion": "1.0", **event, "data": {"name": "松茸"}})
    moment = datetime.now(UTC)
    headers = {
        "webhook-id": event["id"],
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(event["id"], moment, body),
        "farmgate-cursor": f"c-{number}",
    }
    return body, headers


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[Sequence[str | Path]], str]]:
    """Start a receiver; return its address."""
    running: list[subprocess.Popen[bytes]] = []
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])

    def begin(command: Sequence[str | Path]) -> str:
        for process in running:
            process.kill()
            process.wait()
        environment = os.environ | {"FARMGATE_WEBHOOK_SECRET": SECRET, "PORT": str(port)}
        running.append(
            subprocess.Popen(
                command,
                cwd=tmp_path,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )

        def answers() -> bool:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                return False
            return True

        wait_until(answers, 30, "the receiver listens")
        return f"http://127.0.0.1:{port}/webhook"

    yield begin
    for process in running:
        process.kill()
        process.wait()


def _post(url: str, body: str, headers: dict[str, str]) -> int:
    return requests.post(url, data=body.encode(), headers=headers, timeout=10).status_code


def _try(start: Callable[[Sequence[str | Path]], str], command: Sequence[str | Path]) -> None:
    """Send events, one twice, one with a wrong signature, and one again after a kill."""
    url = start(command)
    first, second = _event(1), _event(2)
    assert [_post(url, *first), _post(url, *first), _post(url, *second)] == [204, 204, 204]
    assert _post(url, first[0] + " ", first[1]) == 401
    assert _post(url, *_event(1)[:1], {}) == 401
    url = start(command)
    assert _post(url, *second) == 204


def test_the_flask_receiver_keeps_each_event_once(start, tmp_path: Path) -> None:
    _try(start, [sys.executable, FOLDER / "flask" / "receiver.py"])

    with sqlite3.connect(tmp_path / "events.db") as connection:
        rows = connection.execute("SELECT event_id, cursor FROM events ORDER BY rowid").fetchall()
    connection.close()
    assert rows == [("e-1", "c-1"), ("e-2", "c-2")]


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node.js")
def test_the_receiver_in_javascript_keeps_each_event_once(start, tmp_path: Path) -> None:
    """With a stand-in for the library of npm, which no test downloads."""
    folder = tmp_path / "receiver"
    shutil.copytree(FOLDER / "node", folder)
    library = folder / "node_modules" / "standardwebhooks"
    library.mkdir(parents=True)
    (library / "package.json").write_text('{"name": "standardwebhooks", "main": "index.cjs"}')
    (library / "index.cjs").write_text(STAND_IN)

    _try(start, ["node", folder / "receiver.js"])

    lines = (tmp_path / "events.ndjson").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["id"] for line in lines if line] == ["e-1", "e-2"]


#: `verify` as in Standard Webhooks 1.0.0, without the check of the time.
STAND_IN = """
const { createHmac } = require("node:crypto");
exports.Webhook = class {
  constructor(secret) { this.key = Buffer.from(secret.replace("whsec_", ""), "base64"); }
  verify(body, headers) {
    const text = `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`;
    const right = createHmac("sha256", this.key).update(text).digest("base64");
    if (headers["webhook-signature"] !== `v1,${right}`) throw new Error("wrong signature");
    return JSON.parse(body);
  }
};
"""
