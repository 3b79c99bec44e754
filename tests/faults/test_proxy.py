"""The network that the tests of faults make bad on purpose: each fault, as a client sees it."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from time import monotonic

import pytest

from tests.faults.proxy import Proxy
from tests.support.servers import wait_until

#: Seconds in which a passing byte has arrived, and in which one that is held back has not.
SOON, QUIET = 10.0, 0.2


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)


class Quiet(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A reset is what these tests are about."""


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Quiet(("127.0.0.1", 0), Echo) as server, ExitStack() as stack:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        stack.callback(server.shutdown)
        yield stack.enter_context(Proxy(("127.0.0.1", server.server_address[1])))


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with connect(proxy) as opened:
        yield opened


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), SOON)


def echoed(client: socket.socket, data: bytes) -> bytes:
    """Send, and return what comes back until all has or the connection ends."""
    client.sendall(data)
    return received(client, len(data))


def received(client: socket.socket, count: int) -> bytes:
    """Return so many bytes that come, fewer if the connection ends."""
    back = b""
    while len(back) < count and (more := client.recv(65536)):
        back += more
    return back


def is_reset(client: socket.socket) -> bool:
    try:
        client.sendall(b"still there?")
        return client.recv(1) == b""
    except ConnectionError:
        return True


def is_refused(proxy: Proxy) -> bool:
    try:
        with connect(proxy) as opened:
            return is_reset(opened)
    except ConnectionError:  # the reset may come before the connection is ours
        return True


def hears_nothing(client: socket.socket) -> bool:
    client.settimeout(QUIET)
    try:
        client.recv(1)
    except TimeoutError:
        client.settimeout(SOON)
        return True
    return False


def test_without_a_fault_all_passes(client: socket.socket) -> None:
    data = bytes(range(256)) * 4096
    assert echoed(client, data[:100]) == data[:100]
    sender = threading.Thread(target=client.sendall, args=(data,))
    sender.start()
    back = b""
    while len(back) < len(data):
        back += client.recv(65536)
    sender.join()
    assert back == data


def test_latency_holds_bytes_back_each_way(proxy: Proxy, client: socket.socket) -> None:
    proxy.latency(0.2)
    before = monotonic()
    assert echoed(client, b"late") == b"late"
    assert monotonic() - before >= 0.4


def test_all_connections_share_a_slow_line(proxy: Proxy, client: socket.socket) -> None:
    proxy.slow(0.0, bytes_per_second=10_000)
    data = b"x" * 2_000
    before = monotonic()

    with connect(proxy) as another:
        another.sendall(data)
        assert echoed(client, data) == data
        assert received(another, len(data)) == data

    assert monotonic() - before >= 0.4
    assert proxy.carried >= 6_000


def test_in_a_black_hole_connections_stay_open_and_healing_breaks_them(
    proxy: Proxy, client: socket.socket
) -> None:
    assert echoed(client, b"before") == b"before"

    proxy.black_hole()
    client.sendall(b"swallowed")
    assert hears_nothing(client)
    with connect(proxy) as another:
        another.sendall(b"swallowed too")
        assert hears_nothing(another)

        proxy.heal()
        assert is_reset(client)
        assert is_reset(another)
    with connect(proxy) as healed:
        assert echoed(healed, b"after") == b"after"


def test_a_reset_ends_what_is_there_and_nothing_that_comes(
    proxy: Proxy, client: socket.socket
) -> None:
    assert echoed(client, b"before") == b"before"
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with connect(proxy) as another:
        assert echoed(another, b"after") == b"after"


def test_a_cut_comes_after_so_many_bytes(proxy: Proxy, client: socket.socket) -> None:
    assert echoed(client, b"before") == b"before"
    proxy.cut_after(10)
    client.sendall(b"1234567890123")
    wait_until(lambda: is_reset(client), SOON, "the connection is cut")
    with connect(proxy) as another:
        assert echoed(another, b"1234") == b"1234"
        assert is_reset(another)
        proxy.heal()
    with connect(proxy) as healed:
        assert echoed(healed, b"no more cuts") == b"no more cuts"


def test_a_refusal_ends_new_connections_only(proxy: Proxy, client: socket.socket) -> None:
    assert echoed(client, b"before") == b"before"
    proxy.refuse()
    assert is_refused(proxy)
    assert echoed(client, b"still here") == b"still here"
    proxy.heal()
    with connect(proxy) as healed:
        assert echoed(healed, b"after") == b"after"


def test_the_end_of_one_side_reaches_the_other(proxy: Proxy, client: socket.socket) -> None:
    assert echoed(client, b"last words") == b"last words"
    client.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b""
