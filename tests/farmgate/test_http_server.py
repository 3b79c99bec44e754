"""The server of the embedded run: slow clients hold up nobody."""

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
import requests

from farmgate import http_server
from farmgate.http_server import CONNECTIONS, HttpServer
from tests.support.servers import wait_until

HALF = b"GET / HTTP/1.1\r\nHost: here\r\nX-Slow: "


def _echo(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    start("200 OK", [("Content-Type", "text/plain")])
    return [environ["wsgi.input"].read()]


@pytest.fixture
def server() -> Iterator[HttpServer]:
    opened = HttpServer(_echo, "127.0.0.1", 0, 4)
    opened.start()
    yield opened
    opened.close()


def _ended(sock: socket.socket, seconds: float, word: bytes = b"a") -> bool:
    """Send a byte now and then; tell whether the server ended the connection meanwhile."""
    sock.settimeout(0.2)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            sock.sendall(word)
            if sock.recv(100) == b"":
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


def test_more_half_sent_requests_than_there_are_connections_hold_up_nobody(
    server: HttpServer,
) -> None:
    with ExitStack() as stack:
        for _ in range(CONNECTIONS + 150):
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            slow.sendall(HALF)

        answer = requests.post(f"http://127.0.0.1:{server.port}/", data=b"mine", timeout=5)

    assert answer.content == b"mine"


def test_headers_that_come_byte_by_byte_have_their_time_as_a_whole(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "HEADER_SECONDS", 0.5)
    with socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.sendall(HALF)
        assert _ended(slow, 10)


def test_a_body_may_take_longer_than_the_headers(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "HEADER_SECONDS", 0.5)
    with socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.sendall(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\n")
        assert not _ended(slow, 2)


def test_a_body_that_comes_byte_by_byte_has_its_time_as_a_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_server, "REQUEST_SECONDS", 2)
    monkeypatch.setattr(http_server, "HEADER_SECONDS", 0.5)
    server = HttpServer(_echo, "127.0.0.1", 0, 4)
    server.start()
    with socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.sendall(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\n")
        ended = _ended(slow, 10)
    server.close()
    assert ended


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_requests_in_hand_are_answered_before_it_closes() -> None:
    begun, going_on = threading.Event(), threading.Event()

    def wait(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        begun.set()
        going_on.wait(10)
        return _echo(environ, start)

    server = HttpServer(wait, "127.0.0.1", 0, threads=1)
    server.start()
    url = f"http://127.0.0.1:{server.port}/"
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(requests.post, url, data=b"mine", timeout=20)
        begun.wait(10)
        closing = pool.submit(server.close)
        wait_until(lambda: not _listens(server.port), 10, "it listens no more")
        going_on.set()
        closing.result()

    assert asked.result().content == b"mine"
    assert asked.result().headers["Connection"] == "close"
