"""`python -m benchmarks`: measure all parts, or some, and print the figures.

Nothing else may run meanwhile. Without --quick each figure is the median of three runs.

    make bench                                                   all parts, under 30 minutes
    make bench QUICK=1                                           the same in short, under 5
    python -m benchmarks --only end_to_end --against ../before   two checkouts, in alternation
    python -m benchmarks --read docs/performance.json --page     write the page again
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
import traceback
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import page
from benchmarks.counts import prepare
from benchmarks.figures import HEAD, Figure, Figures, table
from benchmarks.surroundings import Surroundings
from tests.support import servers

#: In the order in which they are measured: limits stand beside what they are compared with.
PARTS = (
    "limits",
    "end_to_end",
    "hot_lot",
    "consumer",
    "relay",
    "station_upload",
    "till_start",
    "embedded",
    "push",
    "growth",
)


def main() -> int:
    """Measure, print and write; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="one short run of each part")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument(
        "--against",
        type=Path,
        metavar="CHECKOUT",
        help="compare with another checkout of Farmgate that has its .venv (end_to_end)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument(
        "--read", type=Path, metavar="FILE", help="read them there; measure nothing"
    )
    parser.add_argument(
        "--page",
        action="store_true",
        help="write the figures into docs/performance.md and README.md",
    )
    given = parser.parse_args()
    # A run that is ended ends what it started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if given.read:
        run = json.loads(given.read.read_text(encoding="utf-8"))
        failed = False
    else:
        run, failed = measure(given.only or PARTS, given.quick, given.against)
    figures = Figures.from_json(run["figures"])
    for name, each in figures.parts().items():
        print(f"\n{name}\n{table(HEAD, figures.rows(each))}")
    for name, head, rows in page.comparisons(figures):
        print(f"\n{name}\n{table(head, rows)}")
    if given.json:
        given.json.write_text(json.dumps(run, ensure_ascii=False, indent=1) + "\n", "utf-8")
    if given.page:
        page.write(run["about"], figures)
    return int(failed)


def measure(
    parts: tuple[str, ...], quick: bool, against: Path | None
) -> tuple[dict[str, Any], bool]:
    """Return what was measured and on what, and whether a part failed."""
    began = time.monotonic()

    def say(text: str) -> None:
        seconds = int(time.monotonic() - began)
        print(f"{seconds // 60:3}:{seconds % 60:02}  {text}", file=sys.stderr, flush=True)

    figures: list[Figure] = []
    failed = False
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="farmgate-bench-")))
        say("starting PostgreSQL and RabbitMQ")
        postgres = stack.enter_context(servers.postgres(fsync=True))
        broker = stack.enter_context(servers.rabbitmq())
        surroundings = Surroundings(
            postgres, broker, folder, say, against and against.resolve(), alone=len(parts) == 1
        )
        prepare(surroundings)
        about: dict[str, Any] = {
            "at": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
            "quick": quick,
            "commit": _commit(Path.cwd()),
            "against": _commit(surroundings.against) if surroundings.against else None,
            "processors": len(os.sched_getaffinity(0)),
            "python": platform.python_version(),
            **_versions(surroundings),
        }
        for part in parts:
            since = time.monotonic()
            try:
                figures += import_module(f"benchmarks.{part}").measure(surroundings, quick=quick)
            except Exception:
                failed = True
                say(f"{part} failed:")
                traceback.print_exc()
            say(f"{part} took {time.monotonic() - since:.0f} s")
        about["minutes"] = round((time.monotonic() - began) / 60, 1)
    return {"about": about, "figures": Figures(figures).as_json()}, failed


def _commit(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() or "unknown"


def _versions(surroundings: Surroundings) -> dict[str, str]:
    with surroundings.sql() as connection:
        row = connection.execute("SHOW server_version").fetchone()
    assert row is not None
    return {
        "postgresql": str(row[0]).split()[0],
        "rabbitmq": surroundings.broker.ctl("version").strip(),
    }


if __name__ == "__main__":
    sys.exit(main())
