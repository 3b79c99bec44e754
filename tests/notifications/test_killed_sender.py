"""A sender that is killed at any moment loses no message and repeats none in the file."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from services.notifications.models import Message
from shared.events import ContactGiven, OrderConfirmed, OrderPlaced

NOON = datetime(2026, 8, 20, 4, 0, tzinfo=UTC)

SENDER = """
import sys
from datetime import datetime
from services.notifications import channels
from services.notifications.timers import run_send
from shared.runtime import clock
from shared.runtime.config import Settings
from shared.runtime.database import Database

noon = datetime.fromisoformat(sys.argv[3])
clock.now = lambda: noon
channels.FileChannel.at_once = 20
settings = Settings.from_environment("notifications", {"FARMGATE_DATA": sys.argv[2]})
database = Database(sys.argv[1])
print("ready", flush=True)
while run_send(database, settings):
    pass
"""


@pytest.mark.parametrize("milliseconds", [0, 15, 40, 80])
def test_a_sender_killed_at_any_moment_leaves_each_message_sent_once(
    deliver, an_order, known_place, database, app_settings, at, send, message_file, milliseconds
):
    at(NOON)
    orders = [an_order() for _ in range(150)]
    known_place(orders[0])
    for each in orders:
        each.variant_id, each.site_id = orders[0].variant_id, orders[0].site_id
    given = [o.contact(buyer_id=None, phone=f"+86138{n:08d}") for n, o in enumerate(orders)]
    deliver(ContactGiven, _many=given)
    deliver(OrderPlaced, _many=[o.placed(buyer_id=None) for o in orders])
    deliver(OrderConfirmed, _many=[o.confirmed() for o in orders])

    database.close()
    url, folder = app_settings.database_url, str(app_settings.data)
    command = [sys.executable, "-c", SENDER, url, folder, NOON.isoformat()]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as sender:
        assert sender.stdout is not None
        assert sender.stdout.readline() == "ready\n"
        _wait_for_a_file(message_file)
        _let_run(milliseconds)
        os.kill(sender.pid, signal.SIGKILL)
    with database.sessions.begin() as session:  # as if the dead sender's lease had ended
        session.execute(update(Message).where(Message.status == "sending").values(due_at=NOON))
    while send():
        pass

    ids = [
        json.loads(line)["message_id"]
        for path in message_file.glob("*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    with database.readers() as reader:
        states = dict(
            reader.execute(select(Message.status, func.count()).group_by(Message.status)).all()
        )
    assert states == {"sent": 450}
    assert len(ids) == len(set(ids)) == 300


def _wait_for_a_file(folder: Path) -> None:
    deadline = time.monotonic() + 30
    while not list(folder.glob("*.jsonl")):
        assert time.monotonic() < deadline, "the sender wrote nothing"


def _let_run(milliseconds: int) -> None:
    """Spend the time that is under test; nothing could be waited for instead."""
    deadline = time.monotonic() + milliseconds / 1000
    while time.monotonic() < deadline:
        pass
