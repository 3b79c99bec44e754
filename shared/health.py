"""Is this service alive, and is it ready? Ready says what fails and how late events are."""

import socket
import threading
from dataclasses import dataclass
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError

from shared import metrics, parked
from shared.clock import now
from shared.config import Settings
from shared.database import Database
from shared.tables import Outbox

#: Seconds an answer about the broker is kept, so that probes do not become a load.
BROKER_KEPT = 5.0


@dataclass
class Health:
    """Asks the parts one service depends on."""

    settings: Settings
    database: Database

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._broker: tuple[float, str] = (float("-inf"), "")

    def ready(self) -> tuple[dict[str, Any], bool]:
        """Return what each part says, and whether all that must work does."""
        report: dict[str, Any] = {"service": self.settings.service}
        ready = True
        try:
            with self.database.readers() as session:
                session.execute(text("SELECT 1"))
                oldest = session.scalar(
                    select(func.min(Outbox.recorded_at)).where(Outbox.position.is_(None))
                )
                counts = parked.counts(session)
        except SQLAlchemyError:
            report["database"] = "away"
            ready = False
        else:
            age = (now() - oldest).total_seconds() if oldest is not None else 0.0
            report["database"] = "ok"
            report["oldest_unpublished_seconds"] = round(max(0.0, age), 3)
            report["parked"] = counts
            metrics.oldest.labels(self.settings.service).set(max(0.0, age))
            for state in ("waiting", "behind", "suspect", "dead"):
                metrics.parked.labels(self.settings.service, state).set(counts.get(state, 0))
        if self.settings.broker_url is None:
            report["broker"] = "embedded"
        else:
            # Orders are taken while the broker is away: this says so without failing.
            report["broker"] = self._ask_broker(self.settings.broker_url)
        report["status"] = "ready" if ready else "not ready"
        return report, ready

    def _ask_broker(self, url: str) -> str:
        with self._lock:
            asked_at, answer = self._broker
            if monotonic() - asked_at > BROKER_KEPT:
                parts = urlsplit(url)
                try:
                    where = (parts.hostname or "localhost", parts.port or 5672)
                    with socket.create_connection(where, timeout=2):
                        answer = "ok"
                except OSError:
                    answer = "away"
                self._broker = (monotonic(), answer)
            return answer
