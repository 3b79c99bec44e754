"""A sender that is killed at any line, and a subscriber too: each event arrives, in order."""

import random
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest

from tests.notifications.webhooks.conftest import KEY
from tests.support.servers import wait_until

SENDER = """
import ipaddress, sys
from services.notifications.push.client import WebhookClient
from services.notifications.push.delivering import Deliverer
from services.notifications.push.sender import Sender
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.supervision import Stopping

settings = Settings.from_environment("notifications", {"FARMGATE_DATA": sys.argv[2]})
client = WebhookClient([ipaddress.ip_network("127.0.0.0/8")], seconds=5)
deliverer = Deliverer(sys.argv[3].encode(), client)
Sender(Database(sys.argv[1]), settings, Stopping(), deliverer).run()
"""


@pytest.mark.parametrize(
    ("seed", "count", "failing", "seconds"),
    [
        (1, 400, 0.2, 60),
        (2, 400, 0.2, 60),
        pytest.param(3, 50_000, 0.01, 1500, marks=pytest.mark.long),
    ],
)
def test_a_sender_killed_at_any_line_loses_nothing_and_keeps_the_order(
    world, receive, app_settings, seed, count, failing, seconds
):
    """Slow: each start of the sender imports the code."""
    chance = random.Random(seed)
    # A subscriber that sometimes stores an event and then fails.
    receiver = receive(lambda got: (500 if chance.random() < failing else 200, {}))
    endpoint_id = world.endpoint("acme", receiver.url)
    subjects = [f"order/{n}" for n in range(count // 20)]
    ids = world.events("acme", *(chance.choice(subjects) for _ in range(count)))
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", SENDER, app_settings.database_url, str(app_settings.data)]
    world.database.close()

    def sending() -> subprocess.Popen[bytes]:
        return subprocess.Popen([*command, KEY.decode()], cwd=root)

    def all_delivered() -> bool:
        world.hurry()
        return world.statuses(endpoint_id) == {"delivered": count}

    for _ in range(4 if count < 1000 else 20):
        got = len(receiver.requests)
        with sending() as sender:
            try:
                wait_until(lambda: len(receiver.requests) > got, 60, "it sends")  # noqa: B023
                time.sleep(chance.uniform(0, 0.6))  # the moment of the kill is what is under test
            finally:
                sender.kill()
    with sending() as sender:
        try:
            wait_until(all_delivered, seconds, "all delivered")
        finally:
            sender.kill()

    assert {each.event["id"] for each in receiver.requests} == {str(each) for each in ids}
    numbers: defaultdict[str, dict[int, None]] = defaultdict(dict)
    for each in receiver.requests:
        numbers[each.event["subject"]][each.event["data"]["number"]] = None
    assert all([*each] == sorted(each) for each in numbers.values())
