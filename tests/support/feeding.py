"""Feeds of partners with events in them, and the feeder that puts these into queues."""

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select

from services.notifications import feeder
from services.notifications.batch import NotificationsBatch
from services.notifications.models import FeedEntry, QueueFeed, Subscription
from services.notifications.use_cases import feed, queues
from shared.messaging.batch import transaction
from shared.runtime import clock, migrations
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.ids import new_id
from shared.runtime.supervision import Stopping, supervise

PAID = "orders.order_paid.v1"


def take_one(channel: Any, queue: str, *, ack: bool = True, within: float = 10) -> Any:
    """Take one message of a queue with a single active consumer: method, properties and body.

    All are None if none comes in time.
    """
    channel.basic_qos(prefetch_count=1)
    method, properties, body = next(channel.consume(queue, inactivity_timeout=within))
    if method is not None and ack:
        channel.basic_ack(method.delivery_tag)
    if method is None or ack:
        channel.cancel()
    return method, properties, body


@contextmanager
def feeds_on(broker_url: str, folder: Path) -> Iterator["Feeds"]:
    """Make feeds in an empty database in `folder`."""
    url = f"sqlite:///{folder}/notifications.db"
    migrations.upgrade("notifications", url)
    made = Feeds.of(url, broker_url, folder)
    yield made
    made.database.close()


@dataclass
class Feeds:
    """Notifications' database, in which events are entered as its consumer does."""

    settings: Settings
    database: Database
    #: Partner → subject and sequence of each event, in the order of the feed.
    entered: defaultdict[str, list[tuple[str, int]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    @classmethod
    def of(cls, url: str, broker_url: str, folder: Path) -> "Feeds":
        environment = {
            "FARMGATE_DATA": str(folder),
            "FARMGATE_NOTIFICATIONS_DATABASE_URL": url,
            "FARMGATE_BROKER_URL": broker_url,
        }
        settings = Settings.from_environment("notifications", environment)
        return cls(settings, Database(url))

    def add(self, queue: str, partner: str, max_bytes: int = 104_857_600) -> None:
        """Feed a queue with what is new for a partner."""
        with transaction(self.database, NotificationsBatch) as batch:
            queues.add_queue(batch, queue, partner, "test", max_bytes)

    def enter(self, partner: str, count: int, subjects: int = 10, padding: int = 0) -> None:
        """Enter events of some orders, in turn."""
        known = self.entered[partner]
        with transaction(self.database, NotificationsBatch) as batch:
            try:
                subscription = feed.find_feed(batch.session, partner).subscription
            except feed.SubscriptionNotFound:
                subscription = feed.subscribe(batch, partner, "test", ())
                batch.session.flush()
            rows = []
            for number in range(len(known), len(known) + count):
                subject = f"order/{partner}-{number % subjects}"
                sequence = number // subjects + 1
                known.append((subject, sequence))
                subscription.last_position += 1
                rows.append(_entry(subscription, subject, sequence, padding))
            if rows:
                batch.session.execute(insert(FeedEntry), rows)

    @contextmanager
    def feeding(self) -> Iterator[list[BaseException]]:
        """Run the feeder; the value lists how it failed so far."""
        stopping = Stopping()
        failures: list[BaseException] = []
        thread = supervise(
            "queues",
            lambda: feeder.run(self.database, self.settings, stopping),
            stopping,
            failures.append,
        )
        try:
            yield failures
        finally:
            stopping.set()
            thread.join(15)
            assert not thread.is_alive()

    def state(self, queue: str) -> QueueFeed:
        with self.database.readers() as session:
            return session.scalars(select(QueueFeed).where(QueueFeed.queue == queue)).one()

    def longest(self) -> int:
        """Return the bytes of the longest event."""
        with self.database.readers() as session:
            return session.scalar(select(func.max(func.length(FeedEntry.body)))) or 0

    def ids(self, partner: str) -> list[UUID]:
        """Return the ids of a partner's events, in the order of the feed."""
        with self.database.readers() as session:
            return list(
                session.scalars(
                    select(FeedEntry.event_id)
                    .join(Subscription, Subscription.id == FeedEntry.subscription_id)
                    .where(Subscription.partner == partner)
                    .order_by(FeedEntry.position)
                )
            )


def _entry(subscription: Subscription, subject: str, sequence: int, padding: int) -> dict[str, Any]:
    event_id, moment = new_id(), clock.now()
    event = {
        "specversion": "1.0",
        "id": str(event_id),
        "source": "/orders",
        "type": PAID,
        "subject": subject,
        "sequence": f"{sequence:019d}",
        "time": clock.rfc3339(moment),
        "data": {"amount_fen": 1, "padding": "x" * padding},
    }
    return {
        "subscription_id": subscription.id,
        "position": subscription.last_position,
        "event_id": event_id,
        "type": PAID,
        "subject": subject,
        "body": json.dumps(event).encode(),
        "entered_at": moment,
    }
