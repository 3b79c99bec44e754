"""What runs where: `run.json` in the data folder, written by `farmgate up`, read by the rest."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from shared.runtime.files import write_whole


@dataclass
class Run:
    """One running `farmgate up`."""

    pid: int
    #: Address of the start page.
    url: str
    #: Service → address of its API.
    urls: dict[str, str]
    #: Process, such as `orders-worker`, → its pid; empty when all is one process.
    processes: dict[str, int] = field(default_factory=dict)


def path(data: Path) -> Path:
    """Return where the file is."""
    return data / "run.json"


def write(data: Path, run: Run) -> None:
    """Write the file."""
    write_whole(path(data), (json.dumps(asdict(run), indent=2) + "\n").encode())


def remove(data: Path) -> None:
    """Say that nothing runs any more."""
    path(data).unlink(missing_ok=True)


def read(data: Path) -> Run | None:
    """Return what runs, or None; a file left by a killed process counts for nothing."""
    try:
        run = Run(**json.loads(path(data).read_text(encoding="utf-8")))
        os.kill(run.pid, 0)
    except (OSError, ValueError, TypeError):
        return None
    return run
