"""`farmgate up` with a broker: a web and a worker process per service, and a topology process.

A process that ends is restarted.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from farmgate import pages, run_file
from farmgate.declaring import declare_topology
from farmgate.failures import Failed
from farmgate.http_server import HttpServer
from farmgate.locking import lock_data_folder
from farmgate.migrating import migrate
from farmgate.printing import echo
from farmgate.services import NAMES, port_of
from shared.runtime import addresses, keys
from shared.runtime.backoff import pause_after
from shared.runtime.config import Settings, read
from shared.runtime.supervision import Stopping

#: The address on which the services listen.
INSIDE = "127.0.0.1"
#: Seconds before a process is restarted: the first time, and at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
#: After a run of this many seconds, the pause starts with the first one again.
STEADY = 30.0
#: Seconds between checks of the processes.
POLL_SECONDS = 0.2
#: Threads of the page server; each proxied request holds one.
PAGE_THREADS = 16
#: Seconds from SIGTERM to SIGKILL.
GRACE = 15.0


@dataclass
class Process:
    """One supervised process and its restarts."""

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    running: subprocess.Popen[bytes] | None = None
    started: float = field(default=0.0)
    #: Ends in a row, each after less than STEADY seconds.
    ends: int = 0
    due: float = 0.0

    def start(self) -> None:
        """Start the process; its output is appended to its log file."""
        with self.log.open("ab") as log:
            self.running = subprocess.Popen(
                [sys.executable, "-m", "farmgate", *self.arguments],
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.started = monotonic()

    def poll(self) -> str | None:
        """Start the process if it is due; return a message if its state changed."""
        if self.running is None:
            if monotonic() < self.due:
                return None
            self.start()
            assert self.running is not None
            return f"{self.name} runs as process {self.running.pid}"
        status = self.running.poll()
        if status is None:
            return None
        self.ends = 1 if monotonic() - self.started > STEADY else self.ends + 1
        pause = pause_after(self.ends, FIRST_PAUSE, LONGEST_PAUSE)
        self.running, self.due = None, monotonic() + pause
        return f"{self.name} ended ({_ending(status)}), again in {pause:.1f} s; its log: {self.log}"


def _ending(status: int) -> str:
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit code {status}"


def run(
    environment: Mapping[str, str],
    host: str,
    port: int,
    workers: int,
    stopping: Stopping,
    ready: Callable[[str], None],
) -> None:
    """Migrate databases, declare the topology, and run all processes until `stopping` is set.

    `ready` is called with the start page's URL.

    Raises:
        Failed: another process uses the data folder, or a port is taken.
        Unreachable: the broker or a database does not answer.
    """
    data = Path(read(environment, "FARMGATE_DATA", "var"))
    settings = {name: Settings.from_environment(name, environment) for name in NAMES}
    url = f"http://{addresses.host_and_port(addresses.reachable(host), port)}"
    # Services listen on this machine only; requests from outside come through the page server.
    urls = {name: f"http://{INSIDE}:{port_of(name, port)}" for name in NAMES}
    with ExitStack() as stack:
        stack.enter_context(lock_data_folder(data))
        keys.ensure(data)
        _check_free(host, port, data)
        for name in NAMES:
            _check_free(INSIDE, port_of(name, port), data)
        for name in NAMES:
            migrate(settings[name])
        declare_topology(environment)
        with_secret = {
            "FARMGATE_PAYMENT_SECRET_FILE": str(data / "keys" / "payment_secret"),
            **environment,
        }
        processes = _processes(with_secret, port, workers, data)
        # The till calls the services at the pages' origin, so the page server proxies them.
        page = pages.with_proxied_services(pages.create(urls), urls)
        server = HttpServer(page, host, port, PAGE_THREADS)
        server.start()
        stack.callback(run_file.remove, data)
        stack.callback(_stop, processes)
        started = False
        while not stopping.is_set():
            lines = [line for process in processes if (line := process.poll())]
            for line in lines:
                echo(line)
            if lines:
                pids = {p.name: p.running.pid for p in processes if p.running is not None}
                known = run_file.settings_of(environment)
                run_file.write(data, run_file.Run(os.getpid(), url, urls, pids, known))
            if not started:
                started = True
                ready(url)
            stopping.wait(POLL_SECONDS)
        server.close()


def _processes(
    environment: Mapping[str, str], port: int, workers: int, data: Path
) -> list[Process]:
    logs = data / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    made = []
    for name in NAMES:
        # Web and worker share a folder, so that the web's /metrics has the worker's counters.
        metrics = data / "metrics" / name
        shutil.rmtree(metrics, ignore_errors=True)
        metrics.mkdir(parents=True)
        own = {"PROMETHEUS_MULTIPROC_DIR": str(metrics), **environment}
        web, worker = f"{name}-web", f"{name}-worker"
        serve = ("web", name, "--host", INSIDE, "--port", str(port_of(name, port)))
        arguments = (*serve, "--workers", str(workers))
        made.append(Process(web, arguments, own, logs / f"{web}.log"))
        made.append(Process(worker, ("worker", name), own, logs / f"{worker}.log"))
    watch = ("topology", "--watch")
    made.append(Process("topology", watch, environment, logs / "topology.log"))
    return made


def _check_free(host: str, port: int, data: Path) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Failed(
                f"Port {port} on {host} cannot be used: {error.strerror}. If a `farmgate up` was "
                f"killed, its processes may still run: see {run_file.path(data)}."
            ) from error


def _stop(processes: list[Process]) -> None:
    running = [p.running for p in processes if p.running is not None]
    for process in running:
        process.terminate()
    deadline = monotonic() + GRACE
    for process in running:
        try:
            process.wait(max(0.1, deadline - monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
