"""A fact gets a second version while old and new code run side by side: nothing is lost or doubled.

What is handled by whom, as real processes on a real broker: the web processes of both releases
write into one outbox, and a worker of either publishes; see `two_releases`.
"""

import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update

from shared.messaging import parked
from shared.messaging.tables import Parked
from shared.runtime import keys
from shared.runtime.database import Database
from tests.support import probe, processes
from tests.support.forking import Program
from tests.support.processes import Processes
from tests.support.servers import free_port, wait_until

pytestmark = [pytest.mark.system, pytest.mark.broker, pytest.mark.postgres]

ROOT = Path(__file__).parents[2]
RELEASES = "tests.system.two_releases"
#: Seconds in which what is not held back must have arrived.
SOON = 30


class Releases(Processes):
    """The processes of both releases, named such as `old-web` and `new-notifications-worker`."""

    def __init__(self, folder: Path, url: str, sender: Database, receiver: Database) -> None:
        self.receiver = receiver
        self.ports = {release: free_port() for release in ("old", "new")}
        commands = {
            f"{release}-web": [release, "web", str(self.ports[release])] for release in self.ports
        }
        commands |= {
            f"{release}-{service}-worker": [release, "worker", service]
            for release in self.ports
            for service in ("orders", "notifications")
        }
        environment = processes._environment(
            folder,
            FARMGATE_ORDERS_DATABASE_URL=sender.url,
            FARMGATE_NOTIFICATIONS_DATABASE_URL=receiver.url,
            FARMGATE_BROKER_URL=url,
            PYTHONPATH=str(ROOT),
        )
        super().__init__(folder, environment, commands, {})

    def program(self, name: str) -> tuple[str, list[str]]:
        return RELEASES, self.commands[name]

    def start(self, *names: str) -> None:
        """Start processes, and wait until each is at work, or stands by."""
        for name in names:
            self.spawn(name)
        for name in names:
            wait_until(lambda name=name: self._works(name), 60, f"{name} works: {self.folder}")  # type: ignore[misc]

    def _works(self, name: str) -> bool:
        release, _, role = name.partition("-")
        if role == "web":
            return processes.answers(f"http://127.0.0.1:{self.ports[release]}", "orders")
        return "consumer ready" in self.log(name)

    def declare(self, release: str) -> None:
        """Declare what a release binds, as `farmgate topology` does before it is deployed."""
        log = self.folder / "topology.log"
        assert Program(RELEASES, [release, "topology"], self.environment, log).wait(60) == 0

    def weigh(self, release: str, *orders: UUID, kilograms: int = 2) -> None:
        """Note a weight of each order at the web process of a release."""
        for order_id in orders:
            request = urllib.request.Request(
                f"http://127.0.0.1:{self.ports[release]}/api/orders/v1/weights/{order_id}",
                json.dumps({"kilograms": kilograms}).encode(),
                {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=10) as answer:
                assert answer.status == 204

    def effects(self, order_id: UUID) -> list[tuple[int, int]]:
        """Return sequence and grams of what was noted of an order, in the order of the notes."""
        found = [e for e in probe.effects(self.receiver) if e.subject == f"order/{order_id}"]
        return [(effect.sequence, effect.amount_fen) for effect in found]

    def parked(self) -> list[tuple[str, str, str]]:
        """Return subject, reason and state of what is parked, in its order."""
        with self.receiver.readers() as session:
            rows = session.scalars(select(Parked).order_by(Parked.arrival))
            return [(row.subject, row.reason, row.state) for row in rows]

    def give_up_waiting(self) -> None:
        """Let the first parked event of each subject have used up its attempts, as after hours."""
        dead = {"state": "dead", "attempts": parked.ATTEMPTS, "next_attempt_at": None}

        def done() -> bool:
            with self.receiver.sessions.begin() as session:
                changed = update(Parked).where(Parked.state == "waiting").values(**dead)
                return bool(cast(Any, session.execute(changed)).rowcount)

        wait_until(done, SOON, "the event is not in hand")


@pytest.fixture
def releases(vhost: str, postgres: Callable[[str], str], tmp_path: Path) -> Iterator[Releases]:
    """Both releases on two empty databases, with the old one's topology; nothing runs yet."""
    sender, receiver = Database(postgres("upgraded_orders")), Database(postgres("upgraded_notes"))
    for database in (sender, receiver):
        probe.create_tables(database)
    keys.ensure(tmp_path)
    with Releases(tmp_path, vhost, sender, receiver) as made:
        made.declare("old")
        yield made
    sender.close()
    receiver.close()


@pytest.mark.rest
def test_an_old_worker_keeps_what_a_new_web_says_until_the_new_worker_handles_it_in_order(
    releases: Releases,
) -> None:
    releases.start("old-web", "old-orders-worker", "old-notifications-worker")
    upgraded, others = uuid4(), [uuid4() for _ in range(5)]
    releases.weigh("old", upgraded, *others, kilograms=1)
    releases.declare("new")
    releases.start("new-web")

    releases.weigh("new", upgraded, kilograms=2)
    releases.weigh("old", upgraded, kilograms=3)
    releases.weigh("new", upgraded, kilograms=4)
    releases.weigh("old", *others, kilograms=5)

    wait_until(
        lambda: all(releases.effects(other) == [(1, 1000), (2, 5000)] for other in others),
        SOON,
        "other subjects go on",
    )
    subject = f"order/{upgraded}"
    held = [(subject, "newer_version", "waiting"), *[(subject, "behind", "behind")] * 2]
    wait_until(lambda: releases.parked() == held, SOON, "the subject of the new version waits")
    assert releases.effects(upgraded) == [(1, 1000)]

    releases.start("new-notifications-worker")  # it stands by
    releases.give_up_waiting()
    releases.stop("old-notifications-worker")

    wait_until(lambda: releases.parked() == [], SOON, "nothing waits any more")
    assert releases.effects(upgraded) == [(1, 1000), (2, 2000), (3, 3000), (4, 4000)]
    assert all(releases.effects(other) == [(1, 1000), (2, 5000)] for other in others)


def test_a_new_worker_handles_what_old_and_new_webs_say_once_and_in_order(
    releases: Releases,
) -> None:
    releases.declare("new")
    releases.start("old-web", "old-orders-worker", "new-notifications-worker")
    order_id, other = uuid4(), uuid4()

    releases.weigh("old", order_id, other, kilograms=1)
    wait_until(
        lambda: releases.effects(order_id) == releases.effects(other) == [(1, 1000)],
        SOON,
        "what the old web says is handled by the new worker",
    )
    releases.start("new-web")
    for release, kilograms in (("new", 2), ("old", 3), ("new", 4)):
        releases.weigh(release, order_id, kilograms=kilograms)
    # The web is upgraded; what it says is published by the old worker, and then by the new one.
    releases.stop("old-web")
    releases.start("new-orders-worker")
    releases.stop("old-orders-worker")
    releases.weigh("new", order_id, kilograms=5)

    expected = [(number, number * 1000) for number in range(1, 6)]
    wait_until(lambda: releases.effects(order_id) == expected, SOON, "all is handled, in order")
    assert releases.parked() == []
    assert releases.effects(other) == [(1, 1000)]
