"""Python programs as processes of their own, forked from one that has imported their modules.

To start `python -m farmgate …` costs a second of processor time, nearly all of it imports, and the
tests start some hundred. What is forked is as real: its own pid, environment and connections, and
killed as any other. Only code that nothing has run yet is shared.
"""

import multiprocessing
import os
import random
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from farmgate.services import NAMES

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        *(
            "farmgate.cli",
            "farmgate.embedded",
            "farmgate.client",
            "shared.messaging.worker",
            "shared.messaging.relay",
        ),
        *("gunicorn.app.base", "tests.support.probe", "tests.faults.worker"),
        *(f"services.{name}.{part}" for name in NAMES for part in ("app", "worker")),
    ]
)


class Program:
    """A running `python -m module …`; it has the methods of `subprocess.Popen` that tests need."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        output: Path,
        errors: Path | None = None,
    ) -> None:
        """Start it as the leader of a process group, with its output added to a file."""
        self.args = [module, *arguments]
        output.touch()
        # A daemon: it ends with the tests, whatever they forget.
        self._process = _FORKS.Process(
            target=_run,
            args=(
                *(module, list(arguments), dict(environment)),
                *(os.getcwd(), _umask(), output, errors),
            ),
            daemon=True,
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended, if it did: minus the signal that ended it."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return how it ended, None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it ended; return how.

        Raises:
            subprocess.TimeoutExpired: it did not within `timeout` seconds.
        """
        self._process.join(timeout)
        ended = self._process.exitcode
        if ended is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return ended

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        # Who started it waits for it, and may have done so since we looked.
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.send_signal(signal.SIGKILL)


def _umask() -> int:
    """Return whom new files of this process are kept from, as a child would inherit it."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def _run(
    module: str,
    arguments: list[str],
    environment: dict[str, str],
    folder: str,
    umask: int,
    output: Path,
    errors: Path | None,
) -> None:
    os.setsid()
    os.umask(umask)
    with output.open("ab") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    if errors is not None:
        with errors.open("ab") as err:
            os.dup2(err.fileno(), 2)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    # The fork server ignores it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    # Else all would toss the same.
    random.seed()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
