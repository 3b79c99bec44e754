"""The bus of the embedded mode, killed for good at named points: nothing is lost or doubled."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from shared.events import OrderPaid, StockReleased
from shared.messaging import embedded
from shared.messaging.batch import Batch, transaction
from shared.messaging.processing import Processor
from shared.messaging.service import Service
from shared.messaging.tables import Outbox, Parked
from shared.runtime.database import Database
from tests.support import probe
from tests.support.forking import Program
from tests.support.servers import wait_until

#: The amount that the process does not survive.
KILLS = 13


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/orders.db")
    probe.create_tables(database)
    yield database
    database.close()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/notifications.db")
    probe.create_tables(database)
    yield database
    database.close()


class Aggregate:
    version = 0


def record(database: Database, order_id: UUID, *amounts: int) -> None:
    """Record payments of one order, one transaction each."""
    order = Aggregate()
    for amount in amounts:
        with transaction(database, Batch) as batch:
            batch.record(
                order,
                OrderPaid(
                    order_id=order_id, order_ref="ORD-1", amount_fen=amount, method="prepaid"
                ),
            )


def run(sender: Database, receiver: Database, point: str = "never") -> int:
    """Run the process; return how it ended: 0, or minus the number of the signal."""
    arguments = [sender.url, receiver.url, point]
    output = Path(str(sender.engine.url.database)).with_name("output")
    return Program("tests.shared.messaging.dying_bus", arguments, os.environ, output).wait(60)


def positions(database: Database) -> list[int | None]:
    with database.readers() as session:
        return list(session.scalars(select(Outbox.position).order_by(Outbox.id)))


@pytest.mark.parametrize(
    "point",
    [
        "before the effect commits",
        "after the effect commits",
        "before the mark commits",
        "after the mark",
    ],
)
def test_killed_anywhere_every_event_takes_effect_once_and_in_order(
    sender: Database, receiver: Database, point: str
) -> None:
    orders = [uuid4() for _ in range(5)]
    for order in orders:
        record(sender, order, 1, 2, 3)

    assert run(sender, receiver, point) == -signal.SIGKILL
    record(sender, uuid4(), 1)
    assert run(sender, receiver) == 0

    assert positions(sender) == list(range(1, 17))
    assert positions(receiver) == list(range(1, 17))
    seen: dict[str, list[int]] = {}
    for effect in probe.effects(receiver):
        seen.setdefault(effect.subject, []).append(effect.sequence)
    assert sorted(seen.values()) == [[1], *[[1, 2, 3]] * 5]


def test_an_event_that_kills_the_process_at_each_start_is_parked_and_the_others_take_effect(
    sender: Database, receiver: Database
) -> None:
    record(sender, uuid4(), 1, 1)
    record(sender, uuid4(), 1, KILLS, 1)
    record(sender, uuid4(), 1, 1)

    starts = 1
    while run(sender, receiver) != 0:
        starts += 1
        assert starts < 10

    assert len(probe.effects(receiver)) == 5
    assert positions(sender) == list(range(1, 8))
    with receiver.readers() as session:
        rows = session.scalars(select(Parked).order_by(Parked.arrival)).all()
    assert [(row.reason, row.state) for row in rows] == [
        ("killed_worker", "dead"),
        ("behind", "behind"),
    ]


def test_after_an_orderly_end_nothing_is_suspected(
    sender: Database, receiver: Database, tmp_path: Path
) -> None:
    record(sender, uuid4(), 1)

    assert run(sender, receiver) == 0

    assert list(tmp_path.glob("*.in-hand")) == []


def test_what_nobody_listens_to_gets_its_position(sender: Database, receiver: Database) -> None:
    with transaction(sender, Batch) as batch:
        batch.record(Aggregate(), StockReleased(order_id=uuid4(), reason="expired"))

    assert run(sender, receiver) == 0

    assert positions(sender) == [1]


def test_a_bus_delivers_what_is_recorded_while_it_runs_without_waiting_for_its_next_look(
    sender: Database, receiver: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "POLL_SECONDS", 60.0)
    orders = Service("orders", {})
    bus = embedded.Bus(
        [
            embedded.Member(orders, sender, Processor(orders, sender)),
            embedded.Member(probe.SERVICE, receiver, Processor(probe.SERVICE, receiver)),
        ]
    )

    bus.start()
    try:
        for number in range(1, 4):
            record(sender, uuid4(), 1)
            wait_until(lambda n=number: len(probe.effects(receiver)) == n, 10, "it arrives")  # type: ignore[misc]
    finally:
        bus.stop()
