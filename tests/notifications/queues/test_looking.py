"""What the lengths of queues say: what was surely taken, and which queue stands still."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.notifications.batch import NotificationsBatch
from services.notifications.use_cases import queues
from shared.messaging.batch import transaction
from shared.messaging.feeding import Look
from shared.messaging.topology import QueueInfo
from shared.runtime import clock
from tests.support.feeding import Feeds, feeds_on

NOON = datetime(2026, 8, 20, 4, 0, tzinfo=UTC)
QUEUE = "integrator.one"


@pytest.fixture
def feeds(tmp_path: Path) -> Iterator[Feeds]:
    with feeds_on("amqp://127.0.0.1:9", tmp_path) as made:
        made.add(QUEUE, "one")
        made.enter("one", 100)
        yield made


class Watch:
    """One feeder's looks at the queue, minute by minute."""

    def __init__(self, feeds: Feeds, monkeypatch: pytest.MonkeyPatch) -> None:
        self.feeds, self.monkeypatch = feeds, monkeypatch
        self.progress = queues.Progress()
        self.moment = NOON

    def look(self, position: int, waiting: int, minutes: int = 1) -> tuple[int, datetime]:
        """Look, after some minutes; return what was taken, and when it moved last."""
        self.moment += timedelta(minutes=minutes)
        self.monkeypatch.setattr(clock, "now", lambda: self.moment)
        with transaction(self.feeds.database, NotificationsBatch) as batch:
            row = batch.session.get_one(queues.manage.QueueFeed, QUEUE)
            row.position = position
            looks = {QUEUE: Look(position, QueueInfo(waiting, 1))}
            queues.record_looks(batch, looks, self.progress)
        state = self.feeds.state(QUEUE)
        return state.taken_position, state.moved_at


@pytest.fixture
def watch(feeds: Feeds, monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(feeds, monkeypatch)


def test_what_has_not_waited_for_an_hour_was_taken(watch: Watch) -> None:
    assert watch.look(50, 0) == (0, watch.moment)
    for _ in range(59):
        watch.look(90, 10)

    assert watch.look(90, 0)[0] == 50
    for _ in range(60):
        watch.look(100, 15)

    assert watch.look(100, 0)[0] == 85


def test_what_a_subscriber_returned_was_not_taken(watch: Watch) -> None:
    for _ in range(30):
        watch.look(100, 0)
    watch.look(100, 40)

    for _ in range(40):
        taken, _ = watch.look(100, 0)

    assert taken == 60


def test_a_queue_that_is_fed_and_not_taken_from_stands_still(watch: Watch) -> None:
    _, moved = watch.look(10, 5)
    for position in range(20, 60, 10):
        assert watch.look(position, position - 5)[1] == moved

    assert watch.look(60, 54)[1] == watch.moment


def test_what_was_taken_counts_no_longer_after_a_replay(feeds: Feeds, watch: Watch) -> None:
    for _ in range(62):
        watch.look(100, 0)
    with transaction(feeds.database, NotificationsBatch) as batch:
        queues.replay_queue(batch, QUEUE, "test", None)

    assert watch.look(20, 20)[0] == 0
