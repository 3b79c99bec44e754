"""Run a bus between two services until it has nothing more to do, and die where it is told."""

import os
import signal
import sys

from sqlalchemy import event, select

from shared.events import OrderPaid
from shared.messaging.embedded import Bus, Member
from shared.messaging.processing import Processor
from shared.messaging.service import Service
from shared.messaging.store import Store
from shared.messaging.tables import Outbox
from shared.runtime.database import Database
from tests.support import probe
from tests.support.servers import wait_until

sender_url, receiver_url, point = sys.argv[1:]
sender, receiver = Database(sender_url), Database(receiver_url)


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def handler(batch, event):
    if event.data.amount_fen == 13:
        die()
    probe.on_order_paid(batch, event)


if point == "before the effect commits":
    event.listen(receiver.sessions, "before_commit", die)
elif point == "after the effect commits":
    event.listen(receiver.sessions, "after_commit", die)
elif point == "before the mark commits":

    def marked(connection, cursor, statement, *rest):
        if statement.startswith("UPDATE outbox"):
            die()

    event.listen(sender.engine, "after_cursor_execute", marked)
elif point == "after the mark":
    mark = Store.mark
    Store.mark = lambda store, rows: (mark(store, rows), rows and die())

members = [
    Member(Service("orders", {}), sender, Processor(Service("orders", {}), sender)),
    Member(
        probe.SERVICE, receiver, Processor(Service("notifications", {OrderPaid: handler}), receiver)
    ),
]
bus = Bus(members)
bus.start()


def quiet():
    waiting = select(Outbox.id).where(Outbox.position.is_(None))
    for database in (sender, receiver):
        with database.readers() as session:
            if session.scalars(waiting).first() is not None:
                return False
    return True


wait_until(quiet, 30, "everything is published")
bus.stop()
sender.close()
receiver.close()
