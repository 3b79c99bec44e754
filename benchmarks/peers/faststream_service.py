"""The peer FastStream: `python faststream_service.py DATABASE BROKER`."""

import asyncio
import logging
import sys
from uuid import UUID, uuid4

import asyncpg
from faststream import AckPolicy, FastStream
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitExchange, RabbitQueue
from pydantic import BaseModel

#: Events under way at once.
WORKERS = 32
EXCHANGE = RabbitExchange("toy", durable=True)
QUEUE = RabbitQueue("toy.in", queue_type=QueueType.QUORUM, durable=True, routing_key="in")

broker = RabbitBroker(
    sys.argv[2],
    default_channel=Channel(prefetch_count=WORKERS, publisher_confirms=True),
    log_level=logging.DEBUG,
)
app = FastStream(broker)


class Paid(BaseModel):
    """The event that is consumed."""

    event_id: UUID
    order_id: UUID
    amount_fen: int


@app.on_startup
async def connect() -> None:
    """Open the pool of connections to the database."""
    global pool
    pool = await asyncpg.create_pool(sys.argv[1], min_size=WORKERS, max_size=WORKERS)


@broker.subscriber(QUEUE, EXCHANGE, ack_policy=AckPolicy.NACK_ON_ERROR)
async def on_paid(event: Paid) -> None:
    """Write the row, then publish."""
    await pool.execute(
        "INSERT INTO effects (effect_id, event_id, amount_fen) VALUES ($1, $2, $3)",
        uuid4(),
        event.event_id,
        event.amount_fen,
    )
    follow_up = {"event_id": str(uuid4()), "order_id": str(event.order_id)}
    await broker.publish(follow_up, exchange=EXCHANGE, routing_key="out", persist=True)


if __name__ == "__main__":
    asyncio.run(app.run())
