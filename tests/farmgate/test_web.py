"""`farmgate web`: slow clients hold up nobody, and what is in hand when it ends is answered."""

import os
import signal
import socket
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from shared.runtime import keys
from tests.support.forking import Program
from tests.support.servers import free_port, stop, wait_until

#: Half-sent requests; a process has 16 threads.
SLOW = 60
HEADERS = b"POST /api/catalog/v1/enterprises HTTP/1.1\r\nHost: here\r\n"
HALF_HEADERS = HEADERS + b"X-Slow: "
HALF_BODY = HEADERS + b"Content-Length: 1000\r\nContent-Type: application/json\r\n\r\n{"


class Web:
    """The web process of catalog, on SQLite, with the rights of an operator."""

    def __init__(self, folder: Path, *options: str) -> None:
        keys.ensure(folder)
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}/api/catalog"
        environment = {**os.environ, "FARMGATE_DATA": str(folder)}
        migrating = Program("farmgate", ["migrate", "catalog"], environment, folder / "log")
        assert migrating.wait(60) == 0
        serve = ["web", "catalog", "--port", str(self.port), *options]
        self.process = Program("farmgate", serve, environment, folder / "log")
        wait_until(self.answers, 60, f"it answers; see {folder}/log")

    def answers(self) -> bool:
        with suppress(requests.RequestException):
            return requests.get(f"{self.url}/v1/products", timeout=5).ok
        return False

    def listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5):
            return True
        return False

    def register(self, code: str, **changes: Any) -> requests.Response:
        """Register an enterprise."""
        token = keys.issue_token(self.folder, "operator", ["catalog:write"], 600)
        return requests.post(
            f"{self.url}/v1/enterprises",
            json={"code": code, "names": {"zh": "巴河合作社"}, "roles": ["producer"]} | changes,
            headers={"Authorization": f"Bearer {token}", "Idempotency-Key": f"key-{code}"},
            timeout=30,
        )


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Callable[..., Web]]:
    """Start web processes, and stop them at the end."""
    with ExitStack() as stack:

        def start(*options: str) -> Web:
            started = Web(tmp_path, *options)
            stack.callback(stop, started.process)
            return started

        yield start


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("half", [HALF_HEADERS, HALF_BODY], ids=["headers", "body"])
def test_half_sent_requests_hold_up_nobody(
    web: Callable[..., Web], half: bytes, workers: str
) -> None:
    there = web("--workers", workers)
    with ExitStack() as stack:
        for _ in range(SLOW):
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", there.port)))
            slow.sendall(half)

        answer = requests.get(f"{there.url}/v1/products", timeout=3)

    assert answer.status_code == 200


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_requests_that_came_before_it_was_told_to_end_are_answered(
    web: Callable[..., Web], number: signal.Signals, workers: str
) -> None:
    there = web("--threads", "4", "--workers", workers)
    lock = sqlite3.connect(there.folder / "catalog.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(8) as pool:
        # Twice as many as there are threads, and none can write.
        asked = [pool.submit(there.register, f"P-{n}") for n in range(8)]
        wait_until(lambda: _connections(there.port) >= 8, 10, "all are connected")
        there.process.send_signal(number)
        wait_until(lambda: not there.listens(), 10, "it listens no more")

        lock.execute("ROLLBACK")

        answers = [answer.result() for answer in asked]
    assert [answer.status_code for answer in answers] == [201] * 8
    assert there.process.wait(30) == 0


def _connections(port: int) -> int:
    """Return how many clients are connected to a port of this machine."""
    lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    rows = [line.split() for line in lines]
    return sum(row[1] == f"0100007F:{port:04X}" and row[3] == "01" for row in rows)


def test_a_worker_left_alone_by_its_parent_ends(web: Callable[..., Web]) -> None:
    there = web("--workers", "2")

    there.process.kill()

    wait_until(lambda: not there.listens(), 10, "nobody listens")


@pytest.mark.parametrize("size", [1_048_577, 5_000_000])
def test_a_body_over_the_limit_is_refused_by_the_application(
    web: Callable[..., Web], size: int
) -> None:
    answer = web().register("P-1", names={"zh": "a" * size})

    assert answer.status_code == 413
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "limit of 1048576 bytes" in answer.json()["detail"]


def test_a_body_beyond_all_limits_is_refused_before_it_is_read(web: Callable[..., Web]) -> None:
    there = web()
    with socket.create_connection(("127.0.0.1", there.port), 10) as client:
        client.sendall(HEADERS + b"Content-Length: 100000000\r\n\r\n")

        assert client.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_wrong_setting_of_the_service_is_reported_without_a_stack_trace(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "FARMGATE_DATA": str(tmp_path),
        "FARMGATE_CATALOG_LEASE_SECONDS": "soon",
    }
    serve = ["web", "catalog", "--port", str(free_port())]
    process = Program("farmgate", serve, environment, tmp_path / "log")

    assert process.wait(60) != 0
    said = (tmp_path / "log").read_text(encoding="utf-8")
    assert "Error: FARMGATE_CATALOG_LEASE_SECONDS must be" in said
    assert "Traceback" not in said
