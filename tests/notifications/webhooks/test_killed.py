"""A sender that is killed at any line, and a subscriber too: each event arrives, in order."""

import random
import subprocess
import sys
import time
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


@pytest.mark.parametrize("seed", [1, 2])
def test_a_sender_killed_at_any_line_loses_nothing_and_keeps_the_order(
    world, receive, app_settings, seed
):
    """Slow: each start of the sender imports the code."""
    chance = random.Random(seed)
    # A subscriber that sometimes fails, and sometimes stores an event and then fails.
    receiver = receive(lambda got: (chance.choice((200, 200, 200, 200, 500)), {}))
    endpoint_id = world.endpoint("acme", receiver.url)
    subjects = [f"order/{n}" for n in range(20)]
    ids = world.events("acme", *(chance.choice(subjects) for _ in range(400)))
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", SENDER, app_settings.database_url, str(app_settings.data)]
    world.database.close()

    def sending() -> subprocess.Popen[bytes]:
        return subprocess.Popen([*command, KEY.decode()], cwd=root)

    def all_delivered() -> bool:
        world.hurry()
        return world.statuses(endpoint_id) == {"delivered": 400}

    for _ in range(4):
        got = len(receiver.requests)
        with sending() as sender:
            try:
                wait_until(lambda: len(receiver.requests) > got, 60, "it sends")  # noqa: B023
                time.sleep(chance.uniform(0, 0.6))  # the moment of the kill is what is under test
            finally:
                sender.kill()
    with sending() as sender:
        try:
            wait_until(all_delivered, 60, "all delivered")
        finally:
            sender.kill()

    assert {each.event["id"] for each in receiver.requests} == {str(each) for each in ids}
    for subject in subjects:
        numbers = receiver.numbers(subject)
        assert numbers == sorted(numbers)
