"""Buyers who place orders over HTTP, in a process of their own: `python -m benchmarks.load`.

It reads a `Load` as JSON from standard input and prints a `Sent`. It imports nothing of Farmgate,
and buyers write bytes to a socket: what they cost counts in the figures, and should be little.
"""

import json
import random
import resource
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4


@dataclass(frozen=True)
class Load:
    """Which orders are placed, by how many clients, for how long.

    Each order has one to three lines, and a buyer with a telephone of their own; buyers are
    numbered from `first_buyer`. `rate` is all clients' orders a second; None: as many as go.
    """

    url: str
    token: str
    site_id: str
    #: `{"variant_id": …, "pack_quantity": …}`.
    variants: Sequence[Mapping[str, Any]]
    clients: int
    seconds: float
    rate: float | None = None
    first_buyer: int = 0

    def send(self) -> "Sent":
        """Place the orders, in a process of their own; return when all are answered."""
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.load"],
            input=json.dumps(asdict(self)),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return Sent(**json.loads(done.stdout))


@dataclass(frozen=True)
class Sent:
    """What the buyers saw: when they began (seconds since 1970), for how long, and the answers."""

    began: float
    seconds: float
    accepted: int
    #: Status of all other answers → how often.
    refused: Mapping[str, int]
    #: Of the buyers' process.
    processor_seconds: float


class Client:
    """One connection on which requests follow each other."""

    def __init__(self, load: Load) -> None:
        self.load = load
        where = urlsplit(load.url)
        address = (where.hostname or "", where.port or 80)
        self._socket = socket.create_connection(address, timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head = (
            "POST /api/orders/v1/orders HTTP/1.1\r\n"
            f"Host: {where.netloc}\r\n"
            f"Authorization: Bearer {load.token}\r\n"
            "Content-Type: application/json\r\n"
        )

    def place(self, buyer: int) -> int:
        """Place a buyer's order; return the answer's status."""
        chosen = random.sample(
            self.load.variants, random.randint(1, min(3, len(self.load.variants)))
        )
        body = json.dumps(
            {
                "channel": "online",
                "payment_method": "cash_on_delivery",
                "site_id": self.load.site_id,
                "collect": False,
                "buyer_id": f"buyer-{buyer}",
                "lines": [
                    {"variant_id": each["variant_id"], "quantity": each["pack_quantity"]}
                    for each in chosen
                ],
                "contact": {
                    "name": "卓玛",
                    "phone": f"139{buyer:08d}",
                    "address": "八一镇1号",
                    "language": "zh",
                },
            }
        ).encode()
        head = f"{self._head}Idempotency-Key: {uuid4()}\r\nContent-Length: {len(body)}\r\n\r\n"
        self._socket.sendall(head.encode() + body)
        return self._status()

    def _status(self) -> int:
        answer = b""
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self._received()
        head = answer[:end].lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        while len(answer) < end + 4 + length:
            answer += self._received()
        return int(head[9:12])

    def _received(self) -> bytes:
        part = self._socket.recv(65_536)
        if not part:
            raise ConnectionError("the service closed the connection")
        return part


def _place_all(load: Load) -> Sent:
    buyers = count(load.first_buyer)
    statuses: Counter[int] = Counter()
    began, monotonic = time.time(), time.monotonic()
    until = monotonic + load.seconds

    def place(number: int) -> None:
        client = Client(load)
        # Clients with a rate do not begin all at once.
        pause = load.clients / load.rate if load.rate else 0.0
        due = monotonic + pause * number / load.clients
        while (now := time.monotonic()) < until:
            if pause:
                due += pause
                time.sleep(max(0.0, due - now))
            statuses[client.place(next(buyers))] += 1

    threads = [threading.Thread(target=place, args=(n,)) for n in range(load.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    used = resource.getrusage(resource.RUSAGE_SELF)
    accepted = sum(count for status, count in statuses.items() if status < 300)
    return Sent(
        began,
        time.monotonic() - monotonic,
        accepted,
        {str(status): count for status, count in statuses.items() if status >= 300},
        used.ru_utime + used.ru_stime,
    )


if __name__ == "__main__":
    print(json.dumps(asdict(_place_all(Load(**json.load(sys.stdin))))))
