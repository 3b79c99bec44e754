"""Readiness of a service: database, broker, age of unpublished events, parked events.

Only an unavailable database makes a service unready. Without the broker it still accepts orders:
their events wait in the outbox, and the report shows their age.
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

#: Seconds for which the broker's state is cached, so that probes put no load on the broker.
BROKER_CACHED = 5.0
#: Seconds to wait for the broker's port.
BROKER_TIMEOUT = 2.0


class Health:
    """Checks the servers that one service depends on.

    Raises:
        Misconfigured: a limit of `late` is not a whole number of seconds.
    """

    def __init__(self, settings: Settings, database: Database, late: Sequence[Late] = ()) -> None:
        self._late, self._limits = late, limits_of(late, settings.environment)
        self.settings = settings
        self.database = database
        self._lock = threading.Lock()
        self._broker: tuple[float, str] = (float("-inf"), "away")

    def ready(self) -> tuple[dict[str, Any], bool]:
        """Return the report, and whether the service is ready.

        `oldest_unpublished_seconds` is the age of the oldest event that the broker has not
        confirmed; `parked` counts events by state.
        """
        backlog = self.measure()
        report: dict[str, Any] = {
            "service": self.settings.service,
            "status": "not ready" if backlog is None else "ready",
            "database": "away" if backlog is None else "ok",
            "broker": self._broker_state(),
        }
        return report | (backlog or {}), backlog is not None

    def measure(self) -> dict[str, Any] | None:
        """Return the age of unpublished events and the counts of parked ones, and set the metrics.

        None: the database is unavailable.
        """
        # The first in the order of publication is the oldest; an index finds it.
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
        """Set the metric of late rows, unless the database is unavailable.

        Not part of readiness: the query may be slow when many rows are late.
        """
        try:
            with self.database.limit("request"), self.database.readers() as session:
                found = find(session, self._late, self._limits)
        except SQLAlchemyError:
            return
        for kind, cases in found.items():
            metrics.set_late(self.settings.service, kind, len(cases))

    def _broker_state(self) -> str:
        """Return `ok`, `away`, or `embedded` without a broker.

        Only connects to the port: a login at each probe would fill the broker's log.
        """
        if self.settings.broker_url is None:
            return "embedded"
        with self._lock:
            checked_at, found = self._broker
            if monotonic() - checked_at > BROKER_CACHED:
                found = "ok" if _accepts_connections(self.settings.broker_url) else "away"
                self._broker = (monotonic(), found)
            return found


def _accepts_connections(url: str) -> bool:
    parts = urlsplit(url)
    port = parts.port or (5671 if parts.scheme == "amqps" else 5672)
    try:
        socket.create_connection((parts.hostname or "localhost", port), BROKER_TIMEOUT).close()
    except OSError:
        return False
    return True
