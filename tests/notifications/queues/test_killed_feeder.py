"""A worker killed while it feeds queues loses nothing: the next one goes on from the position."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pika
import pytest

from shared.messaging import topology
from shared.messaging.topology import Integrator
from shared.runtime import migrations
from tests.notifications.queues.test_feeding import fed, take
from tests.support.feeding import Feeds
from tests.support.servers import stop, wait_until

pytestmark = [pytest.mark.broker, pytest.mark.postgres]

#: Events, and seconds in which everything must have happened.
MANY, SOON = 3000, 60


@contextmanager
def worker(feeds: Feeds) -> Iterator["subprocess.Popen[bytes]"]:
    """Run notifications' worker as a process."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FARMGATE_")}
    settings = {
        "FARMGATE_DATA": str(Path(feeds.settings.data)),
        "FARMGATE_BROKER_URL": feeds.settings.broker_url or "",
        "FARMGATE_NOTIFICATIONS_DATABASE_URL": feeds.settings.database_url,
    }
    command = [sys.executable, "-m", "farmgate", "worker", "notifications"]
    process = subprocess.Popen(command, env=kept | settings, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        stop(process)


def test_after_a_kill_the_next_worker_goes_on_and_positions_tell_the_repeats(
    postgres: Callable[[str], str], vhost: str, tmp_path: Path
) -> None:
    url = postgres("feeder")
    migrations.upgrade("notifications", url)
    feeds = Feeds.of(url, vhost, tmp_path)
    integrator = Integrator("one")
    with pika.BlockingConnection(pika.URLParameters(vhost)) as connection:
        topology.declare_integrator(connection, integrator, None)
    feeds.add(integrator.queue, "one")
    feeds.enter("one", MANY)
    with worker(feeds) as first:
        wait_until(lambda: feeds.state(integrator.queue).position > 200, SOON, "it feeds")
        first.kill()
        first.wait()
    place = feeds.state(integrator.queue).position
    assert 200 < place < MANY

    with worker(feeds):
        fed(feeds, integrator.queue, MANY)
    with pika.BlockingConnection(pika.URLParameters(vhost)) as connection:
        waiting = topology.look_for(connection, integrator.queue)
    assert waiting is not None and waiting.messages >= MANY
    positions = [position for position, *_ in take(vhost, integrator.queue, waiting.messages)]

    # Only what was confirmed and not stored yet comes twice.
    assert list(dict.fromkeys(positions)) == list(range(1, MANY + 1))
    assert all(position > place for position in positions if positions.count(position) > 1)
    feeds.database.close()
