"""The worker process of one service: consumer, relay and timers in supervised threads."""

import signal
from functools import partial

from shared import logs, metrics
from shared.config import Settings, read_integer
from shared.consumer import consume
from shared.database import Database
from shared.errors import Misconfigured
from shared.handling import Handling
from shared.relay import Relay
from shared.service import Service
from shared.supervision import Stopping, supervise
from shared.timers import run_timers, upkeep


def run(service: Service, settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; the batch in hand commits first.

    Raises:
        Misconfigured: there is no broker, or the database is SQLite.
    """
    logs.configure(service.name)
    if settings.broker_url is None:
        raise Misconfigured(
            f"Set FARMGATE_BROKER_URL or FARMGATE_{service.name.upper()}_BROKER_URL; without a "
            "broker, `farmgate up` runs all services in one process."
        )
    url = settings.broker_url
    database = Database(settings.database_url)
    if database.is_sqlite:
        raise Misconfigured(
            "A worker needs PostgreSQL: SQLite has no locks that several processes could share."
        )
    stopping = Stopping()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    handling = Handling(service, database)
    handling.outcomes = partial(metrics.count_events, service.name)
    port = read_integer(settings.environment, "FARMGATE_METRICS_PORT", 0)
    if port:
        metrics.serve(port)
    timers = (*service.timers, *upkeep(handling))
    relay = Relay(
        service.name,
        database,
        url,
        stopping,
        counted=lambda count: metrics.count_events(service.name, {"published": count}),
    )
    threads = [
        supervise("consumer", lambda: consume(url, handling, stopping), stopping),
        supervise("relay", relay.run, stopping),
        supervise("timers", lambda: run_timers(timers, database, settings, stopping), stopping),
    ]
    while not stopping.wait(1.0):
        pass
    for thread in threads:
        thread.join(10)
    database.close()
