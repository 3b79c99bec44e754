"""A partner's feed, a receiver on this machine, and a sender that may reach it."""

import ipaddress
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, update

from services.notifications.batch import NotificationsBatch
from services.notifications.models import Delivery, Endpoint, FeedEntry, Subscription
from services.notifications.push import signing
from services.notifications.push.client import WebhookClient
from services.notifications.push.delivering import Deliverer
from services.notifications.push.sender import Sender
from services.notifications.use_cases import webhooks
from shared.messaging.batch import transaction
from shared.runtime import clock
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.ids import new_id
from shared.runtime.supervision import Stopping, supervise
from tests.support.servers import wait_until

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]
KEY = b"a key of a test, which is long enough"
#: Seconds that an attempt may take here.
SECONDS = 2.0

#: What a receiver answers: a status with headers.
Reply = tuple[int, Mapping[str, str]]


@dataclass
class Received:
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float = field(default_factory=monotonic)

    @property
    def event(self) -> Any:
        """The CloudEvent."""
        return json.loads(self.body)


class Receiver:
    """A server that keeps what it gets, and answers what a test says."""

    def __init__(self, answer: Callable[[Received], Reply]) -> None:
        self.answer = answer
        self.requests: list[Received] = []
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if len(body) < length:  # the sender was killed while it wrote
                    self.close_connection = True
                    return
                received = Received(self.path, dict(self.headers), body)
                status, headers = receiver.answer(received)
                with receiver._lock:
                    received.at = monotonic()
                    receiver.requests.append(received)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_: Any) -> None:
                pass  # the client closed a connection, as it may

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def numbers(self, subject: str) -> list[int]:
        """Return the numbers of a subject's events, each once, in the order of their arrival."""
        found = [e.event["data"]["number"] for e in self.requests if e.event["subject"] == subject]
        return list(dict.fromkeys(found))


@pytest.fixture
def receive() -> Iterator[Callable[..., Receiver]]:
    """Start a receiver; by default it answers 200."""
    started: list[Receiver] = []

    def start(answer: Callable[[Received], Reply] = lambda received: (200, {})) -> Receiver:
        started.append(Receiver(answer))
        return started[-1]

    yield start
    for receiver in started:
        receiver.close()


class World:
    """Partners with feeds and endpoints in the database under test."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._numbers = 0

    def subscribe(self, partner: str = "acme") -> UUID:
        """Subscribe a partner; return the subscription's id."""
        with self.database.sessions.begin() as session:
            subscription = Subscription(
                id=new_id(),
                partner=partner,
                types=[],
                grants=[],
                is_wide=False,
                last_position=0,
                pruned_position=0,
                epochs=[[1, 0]],
                created_at=clock.now(),
            )
            session.add(subscription)
        return subscription.id

    def endpoint(self, partner: str, url: str, **options: Any) -> UUID:
        """Create an endpoint of a partner; return its id."""
        given = {"types": [], "description": None, "after": None} | options
        with transaction(self.database, NotificationsBatch) as batch:
            return webhooks.create_endpoint(batch, partner, partner, url=url, **given).id

    def events(
        self, partner: str, *subjects: str, type: str = "orders.order_paid.v1"
    ) -> list[UUID]:
        """Append an event of each of these subjects to a partner's feed; return their ids."""
        ids = []
        with self.database.sessions.begin() as session:
            subscription = session.scalars(
                select(Subscription).where(Subscription.partner == partner).with_for_update()
            ).one()
            for subject in subjects:
                self._numbers += 1
                subscription.last_position += 1
                event_id = new_id()
                ids.append(event_id)
                document = {
                    "specversion": "1.0",
                    "id": str(event_id),
                    "source": "/farmgate/orders",
                    "type": type,
                    "subject": subject,
                    "data": {"number": self._numbers, "names": "松茸"},
                }
                session.add(
                    FeedEntry(
                        subscription_id=subscription.id,
                        position=subscription.last_position,
                        event_id=event_id,
                        type=type,
                        subject=subject,
                        body=json.dumps(document, ensure_ascii=False).encode(),
                        entered_at=clock.now(),
                    )
                )
        return ids

    def find(self, endpoint_id: UUID) -> Endpoint:
        """Return an endpoint as it is now."""
        with self.database.readers() as session:
            return session.get_one(Endpoint, endpoint_id)

    def deliveries(self, endpoint_id: UUID) -> list[Delivery]:
        """Return an endpoint's deliveries by position."""
        with self.database.readers() as session:
            return list(
                session.scalars(
                    select(Delivery)
                    .where(Delivery.endpoint_id == endpoint_id)
                    .order_by(Delivery.position)
                )
            )

    def statuses(self, endpoint_id: UUID) -> dict[str, int]:
        """Return how many deliveries there are in each state."""
        with self.database.readers() as session:
            rows = session.execute(
                select(Delivery.status, func.count())
                .where(Delivery.endpoint_id == endpoint_id)
                .group_by(Delivery.status)
            )
            return {status: count for status, count in rows}

    def set(self, endpoint_id: UUID, **values: Any) -> None:
        """Change an endpoint's row."""
        with self.database.sessions.begin() as session:
            endpoint = session.get_one(Endpoint, endpoint_id)
            for name, value in values.items():
                setattr(endpoint, name, value)

    def hurry(self) -> None:
        """Make what waits for its next attempt due now, as if time had passed."""
        with self.database.sessions.begin() as session:
            # As everybody who changes deliveries, or two of them could deadlock.
            session.scalars(select(Endpoint).order_by(Endpoint.id).with_for_update()).all()
            session.execute(
                update(Delivery)
                .where(Delivery.next_try_at > clock.now())
                .values(next_try_at=clock.now())
            )

    def secret(self, endpoint_id: UUID, number: int = 1) -> str:
        """Return a secret of an endpoint."""
        return signing.secret_of(KEY, endpoint_id, number)


@pytest.fixture
def world(database: Database) -> World:
    """Partners; `acme` is subscribed."""
    world = World(database)
    world.subscribe()
    return world


class Counting(Sender):
    """A sender that counts its rounds."""

    rounds = 0

    def round(self, *arguments: Any) -> float:
        """Do one round."""
        pause = super().round(*arguments)
        self.rounds += 1
        return pause

    def go_on(self, rounds: int = 5) -> None:
        """Wait until it has looked some more times for what is due."""
        until = self.rounds + rounds
        wait_until(lambda: self.rounds >= until, 10, "some rounds")


@pytest.fixture
def sending(database: Database, app_settings: Settings) -> Callable[..., Any]:
    """Run a sender that may reach this machine, while the context is open."""

    @contextmanager
    def run(seconds: float = SECONDS, networks: Any = LOOPBACK) -> Iterator[Counting]:
        stopping = Stopping()
        deliverer = Deliverer(KEY, WebhookClient(networks, seconds=seconds))
        sender = Counting(database, app_settings, stopping, deliverer)
        errors: list[BaseException] = []
        thread = supervise("push", sender.run, stopping, errors.append)
        try:
            yield sender
        finally:
            stopping.set()
            thread.join(10)
        assert errors == []

    return run
