"""What the tests of faults share: one publisher, one listener, and a ledger of what was said."""

import os
import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

import pika
from sqlalchemy import func, select

from shared.events import OrderPaid
from shared.messaging.batch import Batch, transaction
from shared.messaging.consumer import consume
from shared.messaging.processing import Processor
from shared.messaging.relay import Relay
from shared.messaging.tables import Outbox, Parked
from shared.runtime.database import Database
from shared.runtime.ids import new_id
from shared.runtime.supervision import Stopping, supervise
from tests.faults.proxy import Proxy
from tests.support import probe
from tests.support.forking import Program
from tests.support.servers import wait_until

ROOT = Path(__file__).parents[2]
PAID = OrderPaid.routing_key
ORDERS, TIMES = 10, 5
#: Bytes that a worker may hold more after thousands of messages than before.
MORE_MEMORY = 60 * 2**20
#: Seconds in which everything must have arrived.
DRAINED = 60


@dataclass(frozen=True)
class Verdict:
    """What became of acknowledged operations, as Jepsen's queue checker sorts them."""

    kept: int
    lost: int
    doubled: int
    #: Took effect although nobody was told that it was done.
    unexpected: int
    out_of_order: int


Operation = tuple[str, int]


def verdict(acknowledged: list[Operation], effects: list[Operation]) -> Verdict:
    """Compare the operations that were acknowledged with those that took effect, in their order."""
    asked, done = set(acknowledged), Counter(effects)
    firsts: defaultdict[str, list[int]] = defaultdict(list)
    for subject, sequence in dict.fromkeys(effects):
        firsts[subject].append(sequence)
    return Verdict(
        kept=len(asked & done.keys()),
        lost=len(asked - done.keys()),
        doubled=sum(count > 1 for count in done.values()),
        unexpected=len(done.keys() - asked),
        out_of_order=sum(sequences != sorted(sequences) for sequences in firsts.values()),
    )


def all_kept(count: int) -> Verdict:
    return Verdict(kept=count, lost=0, doubled=0, unexpected=0, out_of_order=0)


class Aggregate:
    def __init__(self) -> None:
        self.version = 0


class Bench:
    """One publisher and one listener on a real broker and real databases.

    Both run in threads of the test, or as processes of their own (`worker`); each may be sent
    another way to its servers.
    """

    def __init__(self, url: str, sender: Database, receiver: Database, folder: Path) -> None:
        self.url, self.sender, self.receiver, self.folder = url, sender, receiver, folder
        self.acknowledged: list[Operation] = []
        self.orders: dict[UUID, Aggregate] = {uuid4(): Aggregate() for _ in range(ORDERS)}

    def pay(self, order_id: UUID, dies: bool = False, amount_fen: int = 1) -> None:
        """Note a payment; `dies` before the commit, so that nobody is told that it was done."""
        aggregate = self.orders[order_id]
        version = aggregate.version
        try:
            with transaction(self.sender, Batch) as batch:
                facts = {"order_ref": "ORD-1", "amount_fen": amount_fen, "method": "prepaid"}
                batch.record(aggregate, OrderPaid(order_id=order_id, **facts))
                if dies:
                    raise InterruptedError
        except InterruptedError:
            aggregate.version = version
        else:
            self.acknowledged.append((f"order/{order_id}", aggregate.version))

    def pay_all(self, times: int = TIMES) -> None:
        for _ in range(times):
            for order_id in self.orders:
                self.pay(order_id)

    def pay_for(self, seconds: float) -> None:
        """Note payments one after the other, as fast as they go, until the time is over."""
        deadline = monotonic() + seconds
        while monotonic() < deadline:
            self.pay_all(1)

    def pay_once(self, amount_fen: int = 1) -> UUID:
        """Note the one payment of a new order."""
        order_id = new_id()
        self.orders[order_id] = Aggregate()
        self.pay(order_id, amount_fen=amount_fen)
        return order_id

    def verdict(self) -> Verdict:
        done = [(effect.subject, effect.sequence) for effect in probe.effects(self.receiver)]
        return verdict(self.acknowledged, done)

    def effects(self) -> int:
        """Return how many events took effect."""
        with self.receiver.readers() as session:
            return session.scalar(select(func.count()).select_from(probe.Effect)) or 0

    def waiting(self) -> int:
        """Return how many events have no position yet."""
        with self.sender.readers() as session:
            return session.scalar(select(func.count()).where(Outbox.position.is_(None))) or 0

    def positions(self) -> list[int | None]:
        """Return the positions of all events, in the order in which they were recorded."""
        with self.sender.readers() as session:
            return list(session.scalars(select(Outbox.position).order_by(Outbox.id)))

    def parked(self) -> list[tuple[str, str]]:
        """Return reason and state of the parked events, in their order."""
        with self.receiver.readers() as session:
            rows = session.scalars(select(Parked).order_by(Parked.arrival))
            return [(row.reason, row.state) for row in rows]

    def depth(self, queue: str) -> int:
        """Return how many messages wait in a queue."""
        with self.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).method.message_count)

    def consumers(self) -> int:
        """Return how many consumers the broker sees at the listener's queue."""
        with self.channel() as channel:
            queue = "notifications.events"
            return int(channel.queue_declare(queue, passive=True).method.consumer_count)

    @contextmanager
    def channel(self) -> Iterator[Any]:
        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        try:
            yield connection.channel()
        finally:
            connection.close()

    @contextmanager
    def relaying(self, url: str | None = None) -> Iterator[list[BaseException]]:
        def relay(stopping: Stopping) -> None:
            Relay("orders", self.sender, url or self.url, stopping).run()

        with running(relay) as failures:
            yield failures

    @contextmanager
    def listening(self, url: str | None = None) -> Iterator[list[BaseException]]:
        processor = Processor(probe.SERVICE, self.receiver)
        with running(lambda stopping: consume(url or self.url, processor, stopping)) as failures:
            yield failures

    @contextmanager
    def worker(self, service: str, name: str = "worker", **settings: str) -> Iterator["Worker"]:
        """Run a worker of `orders` (it publishes) or `notifications` (it listens) as a process.

        `settings` are its environment, and may name another database or broker.
        """
        database = self.sender if service == "orders" else self.receiver
        environment = {n: v for n, v in os.environ.items() if not n.startswith("FARMGATE_")}
        environment |= {
            "FARMGATE_DATA": str(self.folder),
            f"FARMGATE_{service.upper()}_DATABASE_URL": database.url,
            "FARMGATE_BROKER_URL": self.url,
            **settings,
        }
        log_file = self.folder / f"{service}-{name}.log"
        process = Program("tests.faults.worker", [service], environment, log_file)
        try:
            yield Worker(process, log_file)
        finally:
            process.kill()
            process.wait()

    def drain(self) -> None:
        """Let everything arrive; the faults are over."""
        with self.relaying():
            wait_until(lambda: self.waiting() == 0, DRAINED, "everything is published")
        # The last of the queue: what comes after it has seen all before it.
        with self.relaying(), self.listening():
            last = self.pay_once()
            wait_until(
                lambda: any(e.subject == f"order/{last}" for e in probe.effects(self.receiver)),
                DRAINED,
                "everything has arrived",
            )


@dataclass
class Worker:
    """A worker that runs as a process of its own."""

    process: Program
    log_file: Path

    def log(self) -> str:
        """Return what it, and who had its name before it, wrote so far."""
        return self.log_file.read_text(encoding="utf-8")

    def memory(self) -> int:
        """Return the bytes of memory that it holds."""
        return int(self._asked_of_ps("rss")) * 1024

    def is_stopped(self) -> bool:
        """Tell whether a signal holds it."""
        return self._asked_of_ps("stat").startswith(b"T")

    def _asked_of_ps(self, what: str) -> bytes:
        asked = ["ps", "-o", f"{what}=", "-p", str(self.process.pid)]
        return subprocess.run(asked, capture_output=True, check=False).stdout.strip()


@contextmanager
def bench_on(url: str, sender_url: str, receiver_url: str, folder: Path) -> Iterator[Bench]:
    """Make a bench on two empty databases."""
    sender, receiver = Database(sender_url), Database(receiver_url)
    for database in (sender, receiver):
        probe.create_tables(database)
    probe.MENDED.clear()
    yield Bench(url, sender, receiver, folder)
    sender.close()
    receiver.close()


def through(proxy: Proxy, url: str, query: str = "") -> str:
    """Return the address that leads through the proxy to where `url` leads."""
    scheme, _, rest = url.partition("://")
    user, _, place = rest.rpartition("@")
    return f"{scheme}://{user}@127.0.0.1:{proxy.port}/{place.partition('/')[2]}{query}"


def target_of(url: str) -> tuple[str, int]:
    """Return host and port of a server's address."""
    place = url.rpartition("@")[2].partition("/")[0]
    host, _, port = place.partition(":")
    return host, int(port)


@contextmanager
def running(loop: Callable[[Stopping], None]) -> Iterator[list[BaseException]]:
    """Run a supervised loop in a thread; the value lists how it failed so far."""
    stopping = Stopping()
    failures: list[BaseException] = []
    thread = supervise("loop", lambda: loop(stopping), stopping, failures.append)
    try:
        yield failures
    finally:
        stopping.set()
        thread.join(15)
        assert not thread.is_alive()
