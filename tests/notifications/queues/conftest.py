"""Two partners' queues at a real broker, and the feeder."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pika
import pytest

from shared.messaging import topology
from shared.messaging.topology import Integrator
from tests.support.feeding import Feeds, feeds_on


@pytest.fixture
def feeds(vhost: str, tmp_path: Path) -> Iterator[Feeds]:
    with feeds_on(vhost, tmp_path) as made:
        yield made


@contextmanager
def channel_of(url: str) -> Iterator[Any]:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        yield connection.channel()


@pytest.fixture
def queue_of(feeds: Feeds, vhost: str) -> Callable[..., str]:
    """Declare a partner's queue and feed it; return the queue's name."""

    def declare(partner: str, max_bytes: int = topology.INTEGRATOR_BYTES) -> str:
        integrator = Integrator(partner, max_bytes)
        with pika.BlockingConnection(pika.URLParameters(vhost)) as connection:
            topology.declare_integrator(connection, integrator, None)
        feeds.add(integrator.queue, partner, max_bytes)
        return integrator.queue

    return declare
