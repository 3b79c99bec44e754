"""Toy services as worker processes of their own: `python -m benchmarks.toy orders|notifications`.

`orders` publishes its outbox. `notifications` writes one row and one follow-up event for each
payment that it hears of.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.events import Fact, OrderPaid, StockRefused
from shared.messaging import worker
from shared.messaging.batch import Batch
from shared.messaging.envelope import Event, encode
from shared.messaging.service import Service
from shared.runtime import clock
from shared.runtime.config import Settings
from shared.runtime.ids import new_id
from tests.support import probe, servers

#: What the toy publishes; any fact would do.
FollowUp = StockRefused


def on_order_paid(batch: Batch, event: Event[OrderPaid]) -> None:
    """Write one row and record one follow-up event."""
    effect = probe.Effect(
        effect_id=new_id(),
        event_id=event.event_id,
        subject=event.subject,
        sequence=event.sequence,
        amount_fen=event.data.amount_fen,
        version=0,
    )
    batch.session.add(effect)
    batch.record(effect, FollowUp(order_id=event.data.order_id, shortfalls=[]))


PUBLISHER = Service("orders", {})
CONSUMER = Service("notifications", {OrderPaid: on_order_paid})


class Order:
    """An aggregate without a row, of which one payment is recorded."""

    def __init__(self) -> None:
        self.id = new_id()
        self.version = 0

    def payment(self) -> OrderPaid:
        """Return the fact that it was paid."""
        return OrderPaid(order_id=self.id, order_ref="ORD-1", amount_fen=1, method="prepaid")


def event_of(fact: Fact) -> bytes:
    """Return a fact of now as the first event of its subject, encoded."""
    return encode(
        fact,
        event_id=new_id(),
        sequence=1,
        time=clock.now(),
        correlation_id="bench",
        causation_id=None,
        traceparent=None,
    )


@contextmanager
def running(service: Service, database: str, broker: str, folder: Path) -> Iterator[int]:
    """Run a toy service's worker; yield its process id."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("FARMGATE_")},
        "FARMGATE_DATA": str(folder),
        f"FARMGATE_{service.name.upper()}_DATABASE_URL": database,
        "FARMGATE_BROKER_URL": broker,
    }
    with (folder / f"toy-{service.name}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.toy", service.name],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process.pid
    finally:
        servers.stop(process)


if __name__ == "__main__":
    chosen = {service.name: service for service in (PUBLISHER, CONSUMER)}[sys.argv[1]]
    worker.run(chosen, Settings.from_environment(chosen.name))
