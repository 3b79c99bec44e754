"""The HTTP client of webhooks: where it goes, where it does not, and how long it takes."""

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta

import pytest

from services.notifications.push.client import WebhookClient
from services.notifications.push.networks import networks_of
from shared.runtime.errors import Misconfigured
from tests.notifications.webhooks.hostile import Hostile

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]


@pytest.fixture
def hostile() -> Iterator[Callable[..., Hostile]]:
    """Start a server that treats a connection as a test says."""
    started: list[Hostile] = []

    def start(treat: Callable[[socket.socket], None]) -> Hostile:
        started.append(Hostile(treat))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "[fc00::1]",
        "[fec0::1]",
    ],
)
@pytest.mark.parametrize("scheme", ["https", "http"])
def test_nothing_is_sent_to_a_special_address(host, scheme, hostile):
    server = hostile(lambda connection: None)

    answer = WebhookClient(seconds=2).post(f"{scheme}://{host}:{server.port}/", {}, b"{}")

    assert answer.reason == "address_not_allowed"
    assert server.connections == 0


def test_a_name_that_changes_its_address_gains_nothing(monkeypatch, hostile):
    server = hostile(lambda connection: None)
    asked = []

    def resolve(host, port, *args, **kwargs):
        asked.append(host)
        # A public address for the check, and a private one for whoever asks again.
        address = "203.0.114.1" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, server.port))]

    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *a, **k: (
            resolve(host, *a, **k) if host == "rebinding.example" else real(host, *a, **k)
        ),
    )
    answer = WebhookClient(seconds=0.5).post("https://rebinding.example/", {}, b"{}")

    assert answer.reason is not None
    assert asked == ["rebinding.example"]
    assert server.connections == 0


def test_plain_http_is_for_the_operators_networks_only(monkeypatch):
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("203.0.114.1", 80))],
    )
    answer = WebhookClient(LOOPBACK, seconds=0.5).post("http://public.example/", {}, b"{}")

    assert answer.reason == "address_not_allowed"


def test_another_private_network_than_the_operators_stays_closed():
    answer = WebhookClient(LOOPBACK, seconds=1).post("http://10.0.0.1/", {}, b"{}")

    assert answer.reason == "address_not_allowed"


def _drip_head(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for number in range(200):
        connection.sendall(f"X-{number}: y\r\n".encode())
        time.sleep(0.05)


def _say_nothing(connection: socket.socket) -> None:
    time.sleep(10)


def _continue_for_ever(connection: socket.socket) -> None:
    connection.recv(65536)
    for _ in range(200):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.05)


@pytest.mark.parametrize("treat", [_drip_head, _say_nothing, _continue_for_ever])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_attempt_ends_in_time_however_the_server_stalls(hostile, treat, scheme):
    server = hostile(treat)
    client = WebhookClient(LOOPBACK, seconds=0.5)
    stop = threading.Event()

    def cut() -> None:
        while not stop.wait(0.02):
            client.cut_overdue()

    cutting = threading.Thread(target=cut)
    cutting.start()
    began = time.monotonic()
    answer = client.post(f"{scheme}://127.0.0.1:{server.port}/", {}, b"{}")
    took = time.monotonic() - began
    stop.set()
    cutting.join()

    assert took < 2
    assert answer.status is None
    # With TLS the first bytes are no handshake.
    assert answer.reason == "timeout" or (scheme == "https" and answer.reason == "tls_failed")


def test_a_huge_answer_is_not_read(hostile):
    sent = []

    def flood(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
        with closing(connection):
            try:
                for _ in range(2000):
                    sent.append(connection.send(b"x" * 65536))
            except OSError:
                pass

    server = hostile(flood)
    answer = WebhookClient(LOOPBACK, seconds=5).post(f"http://127.0.0.1:{server.port}/", {}, b"{}")

    assert answer.status == 200 and answer.reason is None
    server.close()
    assert sum(sent) < 50_000_000


def test_huge_headers_are_a_failure(hostile):
    def flood(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n")

    server = hostile(flood)
    answer = WebhookClient(LOOPBACK, seconds=5).post(f"http://127.0.0.1:{server.port}/", {}, b"{}")

    assert (answer.status, answer.reason) == (None, "answer_malformed")


def test_garbage_is_a_failure_and_a_closed_port_too(hostile):
    def garbage(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"\x00\xff garbage\r\n\r\n")

    server = hostile(garbage)
    client = WebhookClient(LOOPBACK, seconds=5)
    assert client.post(f"http://127.0.0.1:{server.port}/", {}, b"{}").reason == "answer_malformed"
    server.close()
    assert client.post(f"http://127.0.0.1:{server.port}/", {}, b"{}").reason == "connection_failed"
    assert client.post("https://no-such-host.invalid/", {}, b"{}").reason == "name_not_found"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("120", 120), ("Fri, 31 Dec 1999 23:59:59 GMT", 0), ("soon", None), ("-1", None)],
)
def test_retry_after_is_seconds_or_a_date(hostile, header, seconds):
    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        head = f"HTTP/1.1 503 No\r\nRetry-After: {header}\r\nContent-Length: 0\r\n\r\n"
        connection.sendall(head.encode())

    server = hostile(answer)
    found = WebhookClient(LOOPBACK, seconds=5).post(f"http://127.0.0.1:{server.port}/", {}, b"{}")

    assert found.reason == "http_503"
    assert found.retry_after == (None if seconds is None else timedelta(seconds=seconds))


def test_a_wrong_network_is_named():
    assert networks_of({"FARMGATE_WEBHOOK_NETWORKS": "10.8.0.0/16, ::1"}) == (
        ipaddress.ip_network("10.8.0.0/16"),
        ipaddress.ip_network("::1"),
    )
    with pytest.raises(Misconfigured, match="FARMGATE_WEBHOOK_NETWORKS"):
        networks_of({"FARMGATE_WEBHOOK_NETWORKS": "10.8.0.1/16"})
