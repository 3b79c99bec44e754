"""Faults by the hundred under load, with a ledger.

    make soak FAULTS=300 SEED=1           or
    python -m tests.faults.soak --faults 300 --seed 1 [--json FILE] [--only NAME]

Ends with 0 when everything that was acknowledged was kept, with 1 when it was not.
"""

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path
from time import monotonic

from rich.console import Console
from rich.table import Table

from tests.faults.soak.bench import bench
from tests.faults.soak.running import Report, run

CONSOLE = Console()


def main() -> None:
    """Run the soak and print its report."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.soak", description="Faults by the hundred, with a ledger."
    )
    parser.add_argument("--faults", type=int, default=300, help="how many (300)")
    parser.add_argument("--seed", type=int, default=1, help="decides which and when (1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there too")
    parser.add_argument("--only", metavar="NAME", help="only faults with this in their name")
    parser.add_argument(
        "--without",
        choices=("inbox", "confirms", "outbox", "lock"),
        help="take a mechanism out, to see that the ledger tells the damage",
    )
    parser.add_argument("--folder", type=Path, help="where the processes' logs go (a new one)")
    given = parser.parse_args()
    settings = {"FARMGATE_HANG_SECONDS": "8"}
    if given.without:
        settings["SOAK_WITHOUT"] = given.without
    signal.signal(signal.SIGTERM, ended)
    folder = given.folder or Path(tempfile.mkdtemp(prefix="farmgate-soak-"))
    began = monotonic()

    def told(what: str, done: int) -> None:
        CONSOLE.print(
            f"{monotonic() - began:7.1f} s  {done:4d}/{given.faults}  {what}", highlight=False
        )

    with bench(folder, **settings) as made:
        report = run(made, given.seed, given.faults, told, given.only)
    if given.json:
        given.json.write_text(
            json.dumps(report.as_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    show(report)
    CONSOLE.print(f"Logs of the processes: {folder}")
    sys.exit(0 if report.is_clean else 1)


def ended(*_: object) -> None:
    """End with all that was started, once: a second signal would leave processes behind."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


def show(report: Report) -> None:
    """Print the report."""
    faults = Table(title=f"Seed {report.seed}: {report.faults} faults in {report.rounds} rounds")
    faults.add_column("fault")
    faults.add_column("times", justify="right")
    faults.add_column("longest recovery", justify="right")
    for name, line in sorted(report.lines.items()):
        faults.add_row(name, str(line.times), f"{line.longest:.1f} s")
    CONSOLE.print(faults)
    table = Table(title=f"{report.acknowledged} operations, {report.events} effects of events")
    for column in ("what", "kept", "lost", "doubled", "unexpected"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for name, tally in report.ledger.operations.items():
        counts = (tally.kept, tally.lost, tally.doubled, tally.unexpected)
        table.add_row(name, *(str(count) for count in counts))
    CONSOLE.print(table)
    CONSOLE.print(
        f"Oversold: {report.ledger.oversold}. Out of order: {report.ledger.out_of_order}, and "
        f"{report.ledger.late_after_loss} said again after the broker had lost them. "
        f"Holes in positions: {report.ledger.gaps}. "
        f"Parked: {report.parked} of {report.poisoned} bad messages and nothing else. "
        f"verify agrees: {report.ledger.verified.get('agrees')}.\n"
        f"Longest recovery: {report.longest:.1f} s after {', '.join(report.longest_after)}. "
        f"Restarts of processes: {report.restarts}. By hand: {report.by_hand}. "
        f"{report.seconds:.0f} s in all."
    )
    for sentence in report.ledger.wrong:
        CONSOLE.print(f"[red]{sentence}[/red]", highlight=False)


if __name__ == "__main__":
    main()
