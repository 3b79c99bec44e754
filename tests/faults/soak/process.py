"""One process of Farmgate that can be harmed from outside: at a named point, in its handlers,
in its clock.

    python -m tests.faults.soak.process NAME ARGUMENTS…

NAME is the process's own, ARGUMENTS are those of `farmgate`. What harms it stands in
`$SOAK_FOLDER/NAME.json` (`Harm`), written and removed by the bench while the process runs. All
of it is put round the code from here: the system itself knows nothing of it.

Each handled event is noted in the table `soak_effects`, in the transaction of its effect, so
that what took effect, how often and in which order is known without asking the inbox.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from shared.runtime import clock

#: Seconds for which what was read of a harm is taken as still so.
LOOK = 0.1
#: Where a process can be killed, by what it is.
WEB_POINTS = ("commit.before", "commit.after")
WORKER_POINTS = (
    "relay.after_publish",
    "relay.after_confirm",
    "relay.after_mark",
    "consumer.before_commit",
    "consumer.after_commit",
    "consumer.after_ack",
    "commit.before",
    "commit.after",
)

NOTE = (
    "INSERT INTO soak_effects (event_id, type, subject, sequence) "
    "VALUES (:event_id, :type, :subject, :sequence)"
)


class Harm:
    """What the bench does to this process now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at = 0.0
        self._read: dict[str, Any] = {}
        self._turn = threading.Lock()

    def get(self, what: str) -> Any:
        """Return one thing of it: `kill_at` (a point), `clock` (seconds), `handler` (how)."""
        with self._turn:
            moment = time.monotonic()
            if moment - self._read_at > LOOK:
                self._read_at = moment
                try:
                    self._read = json.loads(self._path.read_text(encoding="utf-8"))
                except (OSError, ValueError):
                    self._read = {}
            return self._read.get(what)

    def reach(self, point: str) -> None:
        """Die here, with everything this process started, if that is what is wanted."""
        if self.get("kill_at") != point:
            return
        try:
            # Once: whoever takes the file away is the one that dies.
            self._path.rename(self._path.with_suffix(".done"))
        except FileNotFoundError:
            return
        os.killpg(os.getpgid(0), signal.SIGKILL)


def move_clock(harm: Harm) -> None:
    """Let the process's clock be wrong by the seconds that the bench says."""

    def now() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=harm.get("clock") or 0)

    clock.now = now


def before_and_after(
    owner: Any,
    name: str,
    *,
    before: Callable[..., None] = lambda *_: None,
    after: Callable[..., None] = lambda *_: None,
) -> None:
    """Put something before and after a function of the system."""
    original = getattr(owner, name)

    def harmed(*arguments: Any, **named: Any) -> Any:
        before(*arguments)
        result = original(*arguments, **named)
        after(*arguments)
        return result

    setattr(owner, name, harmed)


def harm_sessions(harm: Harm) -> None:
    """Die before or after any transaction with events commits."""
    from sqlalchemy import event
    from sqlalchemy.orm import Session

    event.listen(Session, "before_commit", lambda session: harm.reach("commit.before"))
    event.listen(Session, "after_commit", lambda session: harm.reach("commit.after"))


def harm_worker(harm: Harm) -> None:
    """Die at the points of relay and consumer; let handlers fail, hang or crash."""
    from sqlalchemy import text

    import shared.messaging.consumer
    import shared.messaging.relay
    from shared.messaging.batch import Batch
    from shared.messaging.envelope import Event
    from shared.messaging.processing import Processor

    session_of_relay = shared.messaging.relay._Session

    def published(session: Any) -> None:
        if session.pending:
            harm.reach("relay.after_publish")

    before_and_after(session_of_relay, "_pump", after=published)
    before_and_after(
        session_of_relay,
        "_mark",
        before=lambda session: harm.reach("relay.after_confirm"),
        after=lambda session: harm.reach("relay.after_mark"),
    )
    before_and_after(
        shared.messaging.consumer,
        "_process",
        after=lambda *_: harm.reach("consumer.after_commit"),
    )
    before_and_after(shared.messaging.consumer, "_gather", before=lambda *_: acknowledged())

    settled = threading.Event()

    def acknowledged() -> None:
        if settled.is_set():
            settled.clear()
            harm.reach("consumer.after_ack")

    before_and_after(shared.messaging.consumer, "_process", after=lambda *_: settled.set())

    original = Processor._handle

    def handle(self: Processor, batch: Batch, event: Event[Any], handler: Any) -> None:
        how = harm.get("handler")
        if how and is_chosen(event):
            misbehave(how)
        original(self, batch, event, handler)
        batch.session.execute(
            text(NOTE),
            {
                "event_id": event.event_id,
                "type": event.type,
                "subject": event.subject,
                "sequence": event.sequence,
            },
        )
        harm.reach("consumer.before_commit")

    Processor._handle = handle  # type: ignore[method-assign]


def is_chosen(event: Any) -> bool:
    """Whether this is the one subject in six whose events a bad handler cannot stand."""
    return int(event.subject[-1], 16) % 6 == 0


def misbehave(how: str) -> None:
    """Do what a bad handler does."""
    match how:
        case "fails":
            raise RuntimeError("the soak lets this handler fail")
        case "crashes":
            os._exit(70)
        case "hangs":
            time.sleep(3600)


def take_out(what: str) -> None:
    """Take one mechanism out, so that it is seen that the bench tells the damage."""
    from sqlalchemy import insert
    from sqlalchemy.orm import Session

    match what:
        case "inbox":
            from shared.messaging import inbox

            def believe_all(session: Session, events: Any) -> set[Any]:
                events = list(events)
                known(session, events)
                return {event.event_id for event in events}

            known = inbox.take
            inbox.take = believe_all
        case "confirms":
            import shared.messaging.relay

            session_of_relay: Any = shared.messaging.relay._Session
            send = session_of_relay._pump

            def send_and_mark(self: Any) -> None:
                send(self)
                if self.rows:
                    self.pending.clear()
                    self._mark()

            session_of_relay._pump = send_and_mark
            session_of_relay._confirmed = lambda self, frame: None
        case "outbox":
            from shared.messaging.batch import Batch
            from shared.messaging.tables import Outbox

            def write_beside(batch: Batch) -> bool:
                rows, batch._outbox = batch._outbox, []
                if rows:
                    batch.session.flush()
                    with batch.session.get_bind().begin() as beside:  # type: ignore[union-attr]
                        beside.execute(insert(Outbox), rows)
                return bool(rows)

            Batch.write = write_beside  # type: ignore[method-assign]
        case "lock":
            from sqlalchemy.orm import Query
            from sqlalchemy.sql import Select

            Select.with_for_update = lambda self, *_, **__: self  # type: ignore[method-assign, assignment]
            Query.with_for_update = lambda self, *_, **__: self  # type: ignore[method-assign, assignment]
        case _:
            raise SystemExit(f"SOAK_WITHOUT={what}: nothing is called so")


def main() -> None:
    """Harm the process that the arguments name, and run it."""
    name, arguments = sys.argv[1], sys.argv[2:]
    harm = Harm(Path(os.environ["SOAK_FOLDER"]) / f"{name}.json")
    # Before the system is imported: some of it takes the function, not the module.
    move_clock(harm)
    if without := os.environ.get("SOAK_WITHOUT"):
        take_out(without)
    harm_sessions(harm)
    if arguments[0] == "worker":
        harm_worker(harm)
    from farmgate.cli import main as farmgate

    farmgate(arguments, prog_name="farmgate")


if __name__ == "__main__":
    main()
