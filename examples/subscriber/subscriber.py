"""Take your events from your queue at Farmgate's broker, each once, into an SQLite file.

It also stores how far it has come, sees when events are missing, and says from where to read them.
Use this as the start of your own program: write what you do with an event into `Store.keep`, in the
transaction that stores its id. You need not change the rest. README.md says how to run it, and
which guarantees it has.
"""

import argparse
import json
import os
import signal
import sqlite3
import sys
import time
from pathlib import Path

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker, ProbableAuthenticationError

#: Unacknowledged events at a time: more is faster, but more events come again after a crash.
PREFETCH = 100
#: Seconds to wait before connecting again; doubled each time, up to the longest pause.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
FORBIDDEN = 403


class Store:
    """The received events on disk."""

    def __init__(self, path: str) -> None:
        self.connection = sqlite3.connect(path)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = FULL")
        self.connection.execute(
            "CREATE TABLE IF NOT EXISTS events (event_id TEXT PRIMARY KEY,"
            " type TEXT, subject TEXT, sequence TEXT, time TEXT, body TEXT NOT NULL)"
        )
        self.connection.execute(
            "CREATE TABLE IF NOT EXISTS place (only_row INTEGER PRIMARY KEY CHECK (only_row = 1),"
            " position INTEGER NOT NULL, cursor TEXT NOT NULL)"
        )

    def keep(self, event: dict, body: str, position: int, cursor: str) -> bool:
        """Store an event and its place durably; return False if its id is already stored."""
        row = (*(event[name] for name in ("id", "type", "subject", "sequence", "time")), body)
        with self.connection:  # one transaction: the id, and what you do with the event
            done = self.connection.execute(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", row
            )
            # An event that comes again does not move the place back.
            self.connection.execute(
                "INSERT INTO place VALUES (1, ?, ?) ON CONFLICT DO UPDATE"
                " SET position = excluded.position, cursor = excluded.cursor"
                " WHERE excluded.position > position",
                (position, cursor),
            )
        return done.rowcount == 1

    def place(self) -> tuple:
        """Return position and cursor of the newest event, or (None, None)."""
        row = self.connection.execute("SELECT position, cursor FROM place").fetchone()
        return row or (None, None)

    def count(self) -> int:
        """Return how many events are stored."""
        return int(self.connection.execute("SELECT count(*) FROM events").fetchone()[0])


class Stop:
    """Whether SIGTERM or Ctrl-C asked the program to end after the present event."""

    asked = False

    def __init__(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.ask)

    def ask(self, *_: object) -> None:
        self.asked = True


def receive(parameters: pika.URLParameters, queue: str, store: Store, stop: Stop) -> None:
    """Take events until told to stop; raises AMQPError or OSError when the connection is lost."""
    connection = pika.BlockingConnection(parameters)
    try:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=PREFETCH)
        # After a second without an event it yields (None, …), so that the loop notices a signal.
        for method, properties, body in channel.consume(queue, inactivity_timeout=1):
            if method is not None:
                take(properties.headers, body.decode(), store)
                # Only after storing: without an acknowledgement the broker delivers it again.
                channel.basic_ack(method.delivery_tag)
            if stop.asked:
                # Its answer proves that the broker has the acknowledgements.
                channel.basic_qos(prefetch_count=PREFETCH)
                return
        raise AMQPError("the broker ended the subscription")
    finally:
        # At the end the connection is dropped, not closed. The broker then returns unacknowledged
        # events to the queue in their order; `close` would return them one by one, out of order.
        if connection.is_open and not stop.asked:
            connection.close()


def take(headers: dict, body: str, store: Store) -> None:
    event = json.loads(body)
    position, cursor = headers["farmgate-position"], headers["farmgate-cursor"]
    last, behind = store.place()
    if last is not None and position > last + 1:
        # Positions have no gap: somebody purged the queue, or the feed no longer had the events.
        print(
            f"gap    {position - last - 1} events are missing: read them from your feed with",
            f"GET /api/events/v1/events?after={behind}&limit={position - last - 1}",
            flush=True,
        )
    news = "new   " if store.keep(event, body, position, cursor) else "double"
    print(news, event["type"], event["subject"], event["sequence"], event["id"], flush=True)


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    reader.add_argument("broker", help="amqp://HOST:5672/%%2F, or amqps://…")
    reader.add_argument("name", help="your NAME, as you were told it")
    reader.add_argument("store", help="SQLite file; made when it is not there")
    reader.add_argument("--password-file", type=Path, help="else it is in FARMGATE_PASSWORD")
    given = reader.parse_args()
    file = given.password_file
    password = file.read_text().strip() if file else os.environ.get("FARMGATE_PASSWORD")
    if not password:
        reader.error("give --password-file, or set FARMGATE_PASSWORD")
    parameters = pika.URLParameters(given.broker)
    parameters.credentials = pika.PlainCredentials(f"integrator-{given.name}", password)
    parameters.heartbeat, parameters.socket_timeout = 30, 10
    queue = f"integrator.{given.name}"

    store, stop, pause = Store(given.store), Stop(), FIRST_PAUSE
    print(store.count(), "events are stored; waiting for more", flush=True)
    while not stop.asked:
        began = time.monotonic()
        try:
            receive(parameters, queue, store, stop)
        except ProbableAuthenticationError:
            print("The broker refuses this user or password: ask for a new one.", file=sys.stderr)
            return 1
        except (AMQPError, OSError) as error:
            if isinstance(error, ChannelClosedByBroker) and error.reply_code == FORBIDDEN:
                print(f"This user may not do that: {error.reply_text}", file=sys.stderr)
                return 1
            # After a long connection the first pause is short again.
            pause = FIRST_PAUSE if time.monotonic() - began > LONGEST_PAUSE else pause
            print(f"{error!r}: again in {pause:.1f} s", file=sys.stderr, flush=True)
            until = time.monotonic() + pause
            while not stop.asked and time.monotonic() < until:
                time.sleep(0.1)
            pause = min(2 * pause, LONGEST_PAUSE)
    print(store.count(), "events are stored; ended", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
