"""Is this service ready? Says what fails, how late its events are, and what is parked.

Only the database makes it unready. Orders are taken while the broker is away: their events wait
in the outbox, and the report says so.
"""

import socket
import threading
from collections.abc import Sequence
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from shared.messaging import parked
from shared.messaging.tables import Outbox
from shared.runtime import metrics
from shared.runtime.clock import now
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.late import Late, find, limits_of

#: Seconds an answer about the broker is kept, so that probes are no load to it.
BROKER_KEPT = 5.0
#: Seconds to wait for the broker's port.
BROKER_TIMEOUT = 2.0


class Health:
    """Asks the parts that one service depends on.

    Raises:
        Misconfigured: a limit of `late` is not a number of seconds.
    """

    def __init__(self, settings: Settings, database: Database, late: Sequence[Late] = ()) -> None:
        self._late, self._limits = late, limits_of(late, settings.environment)
        self.settings = settings
        self.database = database
        self._lock = threading.Lock()
        self._broker: tuple[float, str] = (float("-inf"), "away")

    def ready(self) -> tuple[dict[str, Any], bool]:
        """Return what each part says, and whether the service can do its work.

        `oldest_unpublished_seconds` is the age of the oldest event that is not yet with all who
        listen; `parked` counts events by state.
        """
        backlog = self.measure()
        report: dict[str, Any] = {
            "service": self.settings.service,
            "status": "not ready" if backlog is None else "ready",
            "database": "away" if backlog is None else "ok",
            "broker": self._ask_broker(),
        }
        return report | (backlog or {}), backlog is not None

    def measure(self) -> dict[str, Any] | None:
        """Return how late events are, and what is parked; None: the database is away.

        The metrics of the same names are set on the way.
        """
        # The first in the order of publication is the oldest; an index finds it at once.
        oldest = (
            select(Outbox.recorded_at).where(Outbox.position.is_(None)).order_by(Outbox.id).limit(1)
        )
        try:
            with self.database.limit("request"), self.database.readers() as session:
                since = session.scalar(oldest)
                counts = parked.counts(session)
        except SQLAlchemyError:
            return None
        age = max(0.0, (now() - since).total_seconds()) if since is not None else 0.0
        metrics.set_backlog(self.settings.service, age, counts)
        return {
            "oldest_unpublished_seconds": round(age, 3),
            "parked": counts,
        }

    def count_late(self) -> None:
        """Set the metric of what waits longer than its limit; not if the database is away.

        Readiness does not wait for it: this query may take long when much is late.
        """
        try:
            with self.database.limit("request"), self.database.readers() as session:
                found = find(session, self._late, self._limits)
        except SQLAlchemyError:
            return
        for kind, cases in found.items():
            metrics.set_late(self.settings.service, kind, len(cases))

    def _ask_broker(self) -> str:
        """Return `ok`, `away`, or `embedded` where there is none.

        Only whether its port answers: a log-in at each probe would fill the broker's log.
        """
        if self.settings.broker_url is None:
            return "embedded"
        with self._lock:
            asked_at, answer = self._broker
            if monotonic() - asked_at > BROKER_KEPT:
                answer = "ok" if _answers(self.settings.broker_url) else "away"
                self._broker = (monotonic(), answer)
            return answer


def _answers(url: str) -> bool:
    parts = urlsplit(url)
    port = parts.port or (5671 if parts.scheme == "amqps" else 5672)
    try:
        socket.create_connection((parts.hostname or "localhost", port), BROKER_TIMEOUT).close()
    except OSError:
        return False
    return True
