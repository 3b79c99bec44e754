"""The worker process of one service: its loops in supervised threads."""

import signal
from functools import partial
from time import monotonic

from shared.messaging.consumer import consume
from shared.messaging.dead_letters import drain
from shared.messaging.processing import Processor
from shared.messaging.relay import Relay
from shared.messaging.service import Service
from shared.messaging.timers import run_timers, upkeep
from shared.runtime import collector, logs, metrics, tracing
from shared.runtime.config import Settings, read, read_integer
from shared.runtime.database import Database
from shared.runtime.errors import Misconfigured
from shared.runtime.supervision import Stopping, supervise
from shared.runtime.watchdog import Watchdog, seconds_of

log = logs.get(__name__)

#: Seconds in which all threads must end; process managers usually allow 10.
LAST_SECONDS = 8.0
#: Seconds a transaction waits for a lock before it is retried. The broker closes the connection of
#: a consumer that misses its heartbeats for a minute.
LOCK_SECONDS = 10
#: Seconds one run of a timer may take: it may send many messages, or delete many rows.
TIMER_SECONDS = 600


def run(service: Service, settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; the current batch commits first if it can within seconds.

    Raises:
        Misconfigured: there is no broker, the database is SQLite, the port for metrics is taken, or
            a setting of the service's own cannot be used.
    """
    logs.configure(service.name)
    tracing.start(log.warning)
    if settings.broker_url is None:
        raise Misconfigured(
            f"Set FARMGATE_BROKER_URL or FARMGATE_{service.name.upper()}_BROKER_URL; without a "
            "broker, `farmgate up` runs all services in one process."
        )
    if service.check is not None:
        service.check(settings)
    url = settings.broker_url
    database = Database(settings.database_url, lock_seconds=LOCK_SECONDS)
    if database.is_sqlite:
        raise Misconfigured(
            "A worker needs PostgreSQL: SQLite has no locks that several processes could share."
        )
    # sigwait instead of a signal handler: a handler that sets an event deadlocks if it interrupts
    # the main thread inside the same event. Blocked before any thread starts: all inherit it.
    signals = (signal.SIGTERM, signal.SIGINT)
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    _expose_metrics(settings)
    stopping = Stopping()
    processor = Processor(service, database)
    processor.count_outcomes = partial(metrics.count_events, service.name)
    watchdog = Watchdog(
        seconds_of(settings.environment), partial(metrics.set_working, service.name)
    )
    processor.limit = watchdog.limit
    metrics.set_relay_blocked(service.name, False)
    timers = (*service.timers, *upkeep(processor))
    relay = Relay(
        service.name,
        database,
        url,
        stopping,
        counted=lambda count: metrics.count_events(service.name, {"published": count}),
        on_blocked=partial(metrics.set_relay_blocked, service.name),
        limit=watchdog.limit,
    )
    run_all_timers = partial(
        run_timers,
        timers,
        database,
        settings,
        stopping,
        limit=partial(watchdog.limit, seconds=TIMER_SECONDS),
    )
    collector.settle()
    threads = [
        supervise("watchdog", lambda: watchdog.run(stopping), stopping),
        supervise("consumer", lambda: consume(url, processor, stopping), stopping),
        supervise("relay", relay.run, stopping),
        supervise("dead letters", lambda: drain(url, processor, stopping), stopping),
        supervise("timers", run_all_timers, stopping),
        *(
            supervise(loop.name, partial(loop.run, database, settings, stopping), stopping)
            for loop in service.loops
        ),
    ]
    signal.sigwait(signals)
    stopping.set()
    deadline = monotonic() + LAST_SECONDS
    for thread in threads:
        # A thread that still waits for an unavailable server ends with the process; messages that
        # it did not acknowledge are delivered again.
        thread.join(max(0.0, deadline - monotonic()))
    database.close()


def _expose_metrics(settings: Settings) -> None:
    port = read_integer(settings.environment, "FARMGATE_METRICS_PORT", 0)
    if port:
        host = read(settings.environment, "FARMGATE_METRICS_HOST", "127.0.0.1")
        try:
            metrics.serve(port, host)
        except OSError as error:
            raise Misconfigured(
                f"FARMGATE_METRICS_PORT: port {port} on {host} cannot be used: {error.strerror}."
            ) from error
