"""What the command's tests share: a stand-in for a service, databases, and the command itself."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pika
import pytest
from click.testing import CliRunner, Result

from farmgate.cli import main
from farmgate.services import NAMES
from shared.runtime import migrations
from tests.support.servers import RabbitMQ

Farmgate = Callable[..., Result]


@dataclass
class Request:
    """What a client sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Stand:
    """An HTTP server that answers as told: (status, body), or None to drop the connection."""

    url: str
    answers: list[tuple[int, Any] | None] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)


@pytest.fixture
def stand() -> Iterator[Stand]:
    """A server for the client to talk to."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            made.requests.append(Request(self.command, self.path, headers, self.rfile.read(length)))
            told = made.answers.pop(0)
            if told is None:
                self.close_connection = True
                return
            status, body = told
            content = json.dumps(body).encode()
            self.send_response(status)
            kind = "json" if status < 400 else "problem+json"
            self.send_header("Content-Type", f"application/{kind}")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Stand(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def farmgate(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Farmgate:
    """Run the command with an own data folder."""
    monkeypatch.setenv("FARMGATE_DATA", str(tmp_path / "var"))

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, list(arguments))

    return run


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the four databases, empty."""
    folder = tmp_path_factory.mktemp("migrated")
    for name in NAMES:
        migrations.upgrade(name, f"sqlite:///{folder}/{name}.db")
    return folder


@pytest.fixture
def data(tmp_path: Path, migrated: Path, farmgate: Farmgate) -> Path:
    """The command's own data folder with four databases."""
    shutil.copytree(migrated, tmp_path / "var")
    return tmp_path / "var"


@pytest.fixture
def name() -> str:
    """Nobody else's: users belong to the whole broker."""
    return f"shop-{uuid4().hex[:8]}"


@pytest.fixture
def integrators(
    broker: RabbitMQ,
    vhost: str,
    name: str,
    migrated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Farmgate]:
    """Run `farmgate integrators …`; what it made is removed in the end."""
    shutil.copy(migrated / "notifications.db", tmp_path)
    database = f"sqlite:///{tmp_path}/notifications.db"
    monkeypatch.setenv("FARMGATE_NOTIFICATIONS_DATABASE_URL", database)
    monkeypatch.setenv("FARMGATE_DATA", str(tmp_path))
    monkeypatch.setenv("FARMGATE_BROKER_URL", vhost)
    monkeypatch.setenv("FARMGATE_BROKER_MANAGEMENT_URL", broker.management_url)

    def run(*arguments: str, **options: Any) -> Result:
        return CliRunner().invoke(main, ["integrators", *arguments], **options)

    yield run
    monkeypatch.setenv("FARMGATE_BROKER_MANAGEMENT_URL", broker.management_url)
    monkeypatch.setenv("FARMGATE_BROKER_URL", vhost)
    run("remove", name, "--yes")


def added(integrators: Farmgate, *arguments: str) -> dict[str, Any]:
    done = integrators("add", *arguments, "--json")
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def connect(vhost: str, user: str, password: str) -> pika.BlockingConnection:
    parameters = pika.URLParameters(vhost)
    parameters.credentials = pika.PlainCredentials(user, password)
    return pika.BlockingConnection(parameters)
