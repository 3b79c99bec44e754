"""Fixtures of the command's tests: a stand-in for a service, and the command itself."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from click.testing import CliRunner, Result

from farmgate.cli import main


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

        do_GET = do_POST = do_PUT = answer

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Stand(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def farmgate(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run the command with an own data folder."""
    monkeypatch.setenv("FARMGATE_DATA", str(tmp_path / "var"))

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, list(arguments))

    return run
