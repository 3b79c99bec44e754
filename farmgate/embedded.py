"""Embedded mode: four services, their bus and timers, and the pages in one process."""

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, redirect_stderr
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from farmgate import pages, run_file
from farmgate.http_server import Application, HttpServer
from farmgate.locking import lock_data_folder
from farmgate.migrating import migrate
from farmgate.services import ALSO, NAMES, application_of, service_of
from shared.messaging.embedded import Bus, Member
from shared.messaging.processing import Processor
from shared.messaging.timers import run_timers, upkeep
from shared.runtime import addresses, collector, keys, logs
from shared.runtime.config import Settings, read
from shared.runtime.supervision import Stopping, supervise

#: Request threads. A buyer who waits for an order's decision (`Prefer: wait`) holds one.
THREADS = 24


def by_prefix(applications: Mapping[str, Application], otherwise: Application) -> Application:
    """Return an application that dispatches `/api/<name>/…` to the application of that name."""

    def dispatch(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        parts = environ.get("PATH_INFO", "").split("/", 3)
        name = parts[2] if len(parts) > 2 and parts[1] == "api" else ""
        return applications.get(name, otherwise)(environ, start_response)

    return dispatch


def run(
    environment: Mapping[str, str],
    host: str,
    port: int,
    stopping: Stopping,
    ready: Callable[[str], None],
) -> None:
    """Run until `stopping` is set; call `ready` with the URL once requests are answered.

    Raises:
        Failed: another process uses the data folder, or the port is taken.
    """
    data = Path(read(environment, "FARMGATE_DATA", "var"))
    settings = {name: Settings.from_environment(name, environment) for name in NAMES}
    with ExitStack() as stack:
        stack.enter_context(lock_data_folder(data))
        keys.ensure(data)
        if "FARMGATE_PAYMENT_SECRET" not in environment:
            secret = {"FARMGATE_PAYMENT_SECRET_FILE": str(data / "keys" / "payment_secret")}
            with_secret = {**secret, **environment}
            settings = {n: replace(s, environment=with_secret) for n, s in settings.items()}
        for name in NAMES:
            migrate(settings[name])
        applications = {name: application_of(name)(settings[name]) for name in NAMES}
        log = stack.enter_context(_log_file(data))
        # Warnings and stack traces go to the log, not to the terminal.
        stack.enter_context(redirect_stderr(log))
        logs.configure("farmgate")
        members = []
        for name in NAMES:
            # The application's database, so that its requests wake the bus.
            database = applications[name].extensions["farmgate"].database
            stack.callback(database.close)
            service = service_of(name)
            members.append(Member(service, database, Processor(service, database)))

        url = f"http://{addresses.host_and_port(addresses.reachable(host), port)}"
        urls = dict.fromkeys(NAMES, url)
        routed = applications | {name: applications[service] for name, service in ALSO.items()}
        server = HttpServer(by_prefix(routed, pages.create(urls)), host, port, THREADS)
        threads = [_timers(member, settings[member.service.name], stopping) for member in members]
        threads += [
            supervise(
                loop.name,
                partial(loop.run, member.database, settings[member.service.name], stopping),
                stopping,
            )
            for member in members
            for loop in member.service.loops
        ]
        bus = Bus(members)
        collector.settle()
        bus.start()
        server.start()
        known = run_file.settings_of(environment)
        run_file.write(data, run_file.Run(os.getpid(), url, urls, settings=known))
        stack.callback(run_file.remove, data)
        ready(url)
        while not stopping.wait(1.0):
            pass
        server.close()
        for thread in threads:
            thread.join(10)
        bus.stop()


def _log_file(data: Path) -> TextIO:
    path = data / "logs" / "farmgate.log"
    path.parent.mkdir(exist_ok=True)
    return path.open("a", encoding="utf-8", buffering=1)


def _timers(member: Member, settings: Settings, stopping: Stopping) -> threading.Thread:
    timers = (*member.service.timers, *upkeep(member.processor))
    return supervise(
        f"{member.service.name}-timers",
        lambda: run_timers(timers, member.database, settings, stopping),
        stopping,
    )
