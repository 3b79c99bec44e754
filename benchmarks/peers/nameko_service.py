"""The peer nameko: `python nameko_service.py DATABASE BROKER`."""

import eventlet

eventlet.monkey_patch()

import sys  # noqa: E402
from typing import Any  # noqa: E402
from uuid import uuid4  # noqa: E402

import psycopg2  # noqa: E402
from eventlet.pools import Pool  # noqa: E402
from eventlet.support.psycopg2_patcher import make_psycopg_green  # noqa: E402
from kombu import Exchange, Queue  # noqa: E402
from nameko.extensions import DependencyProvider  # noqa: E402
from nameko.messaging import Publisher, consume  # noqa: E402
from nameko.runners import ServiceRunner  # noqa: E402

make_psycopg_green()

#: Events under way at once.
WORKERS = 32
EXCHANGE = Exchange("toy", type="direct", durable=True)
QUEUE = Queue("toy.in", EXCHANGE, routing_key="in", queue_arguments={"x-queue-type": "quorum"})


class Connections(DependencyProvider):
    """A pool of connections to the database."""

    def setup(self) -> None:
        """Make the pool."""
        self.pool = Pool(create=lambda: psycopg2.connect(sys.argv[1]), max_size=WORKERS)

    def get_dependency(self, worker_ctx: Any) -> Pool:
        """Return the pool."""
        return self.pool


class Toy:
    """One row and one follow-up event for each event."""

    name = "toy"
    connections = Connections()
    publish = Publisher(exchange=EXCHANGE)

    @consume(queue=QUEUE)
    def on_paid(self, event: dict[str, Any]) -> None:
        """Write the row, then publish."""
        with self.connections.item() as connection, connection:
            connection.cursor().execute(
                "INSERT INTO effects (effect_id, event_id, amount_fen) VALUES (%s, %s, %s)",
                (str(uuid4()), event["event_id"], event["amount_fen"]),
            )
        follow_up = {"event_id": str(uuid4()), "order_id": event["order_id"]}
        self.publish(follow_up, routing_key="out")


if __name__ == "__main__":
    config = {"AMQP_URI": sys.argv[2], "max_workers": WORKERS, "prefetch_count": WORKERS}
    runner = ServiceRunner(config)
    runner.add_service(Toy)
    runner.start()
    runner.wait()
