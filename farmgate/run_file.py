"""`run.json` in the data folder: addresses and processes of the running `farmgate up`."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from shared.runtime.files import write_whole

_SERVERS = re.compile("FARMGATE_([A-Z]+_)?(BROKER_URL|DATABASE_URL|BROKER_MANAGEMENT_URL)(_FILE)?")


@dataclass
class Run:
    """One running `farmgate up`."""

    pid: int
    #: URL of the start page.
    url: str
    #: Service → URL of its API.
    urls: dict[str, str]
    #: Process, such as `orders-worker`, → its pid; empty in embedded mode.
    processes: dict[str, int] = field(default_factory=dict)
    #: Its settings of broker and databases; the file is readable by its owner only.
    settings: dict[str, str] = field(default_factory=dict)


def settings_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that name the broker and the databases."""
    return {name: value for name, value in environment.items() if _SERVERS.fullmatch(name)}


def with_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the broker and the databases of a running `farmgate up`.

    Only if the environment names neither: parts of two systems must not be mixed.
    """
    if settings_of(environment):
        return dict(environment)
    running = read(Path(environment.get("FARMGATE_DATA", "var")))
    return {**environment, **(running.settings if running else {})}


def path(data: Path) -> Path:
    """Return the file's path."""
    return data / "run.json"


def write(data: Path, run: Run) -> None:
    """Write the file."""
    write_whole(path(data), (json.dumps(asdict(run), indent=2) + "\n").encode())


def remove(data: Path) -> None:
    """Delete the file, since nothing runs any more."""
    path(data).unlink(missing_ok=True)


def read(data: Path) -> Run | None:
    """Return the running `farmgate up`, or None; the file of a killed process is ignored."""
    try:
        run = Run(**json.loads(path(data).read_text(encoding="utf-8")))
        os.kill(run.pid, 0)
    except (OSError, ValueError, TypeError):
        return None
    return run
