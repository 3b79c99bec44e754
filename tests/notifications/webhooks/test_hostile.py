"""No endpoint delays another: dead, slow, huge and hostile ones beside one that works."""

import socket
import time
from collections.abc import Callable

import pytest

from tests.notifications.webhooks.hostile import Hostile
from tests.support.servers import wait_until

#: Endpoints of each kind of trouble.
EACH = 15


def _slow(connection: socket.socket) -> None:
    connection.recv(65536)
    time.sleep(1.5)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def _dripping(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X: y\r\n")
        time.sleep(0.3)


def _huge(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65536)


def _silent(connection: socket.socket) -> None:
    time.sleep(30)


@pytest.mark.parametrize("harness", ["sqlite"], indirect=True)
def test_bad_endpoints_delay_a_good_one_by_less_than_a_second(world, receive, sending) -> None:
    """Slow: 60 endpoints that stall are given the time to do so."""
    bad: list[Callable[[socket.socket], None]] = [_slow, _dripping, _huge, _silent]
    servers = [Hostile(treat) for treat in bad]
    good = receive()
    endpoint_id = world.endpoint("acme", good.url)
    for number, server in enumerate(servers):
        for copy in range(EACH):
            partner = f"bad-{number}-{copy}"
            world.subscribe(partner)
            world.endpoint(partner, f"http://127.0.0.1:{server.port}/")
            world.events(partner, *(f"order/{partner}-{n % 3}" for n in range(9)))
    sent_at = []

    with sending():
        for number in range(30):
            world.events("acme", f"order/{number}")
            sent_at.append(time.monotonic())
            time.sleep(0.1)
        wait_until(lambda: world.statuses(endpoint_id) == {"delivered": 30}, 10, "delivered")

    for server in servers:
        server.close()
    delays = [got.at - at for got, at in zip(good.requests, sent_at, strict=True)]
    assert max(delays) < 1
