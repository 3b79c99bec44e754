"""Write the figures of a run into docs/performance.md and README, between their markers.

`<!-- begin NAME -->` and `<!-- end NAME -->` enclose the table of the part NAME, or `about` (on
what the run was), `picture` (where an order's time goes), `comparison` (two checkouts) or `aims`
(the figures that have one).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import end_to_end
from benchmarks.figures import HEAD, Figures, markdown, shown

PATHS = Path("docs/performance.md"), Path("README.md")

Table = tuple[str, Sequence[str], list[tuple[str, ...]]]


def write(about: Mapping[str, Any], figures: Figures) -> None:
    """Replace what is between the pages' markers, where the run has something for them."""
    texts = {name: markdown(HEAD, figures.rows(each)) for name, each in figures.parts().items()}
    texts["about"] = _about(about)
    texts["picture"] = _picture(figures)
    texts["aims"] = _aims(figures)
    texts["comparison"] = "\n\n".join(
        markdown(head, rows) for _, head, rows in comparisons(figures)
    )

    def replace(found: re.Match[str]) -> str:
        begin, name, old, end = found.groups()
        return f"{begin}\n{texts.get(name) or old.strip()}\n{end}"

    marked = re.compile(r"(<!-- begin (\S+) -->)(.*?)(<!-- end \2 -->)", re.DOTALL)
    for path in PATHS:
        path.write_text(marked.sub(replace, path.read_text(encoding="utf-8")), encoding="utf-8")


def comparisons(figures: Figures) -> Iterator[Table]:
    """Yield a table for each part that was measured of another checkout, too: `PART of NAME`."""
    parts = figures.parts()
    for name, others in parts.items():
        part, of, checkout = name.partition(" of ")
        if of and part in parts:
            now = {figure.name: figure for figure in parts[part]}
            rows: list[tuple[str, ...]] = [
                (
                    other.name,
                    f"{shown(other.median)} {other.unit}",
                    f"{shown(now[other.name].median)} {other.unit}",
                    f"{shown(now[other.name].median / other.median)} ×" if other.median else "",
                )
                for other in others
                if other.name in now
            ]
            yield f"{part}, two checkouts", ("figure", checkout, "now", "ratio"), rows


def _about(about: Mapping[str, Any]) -> str:
    runs = "one short run" if about["quick"] else "three runs"
    against = f", beside commit {about['against']}" if about["against"] else ""
    return (
        f"Commit {about['commit']}{against}, {about['at']} UTC, {runs} in {about['minutes']} "
        f"minutes: {about['processors']} processors, Python {about['python']}, PostgreSQL "
        f"{about['postgresql']}, RabbitMQ {about['rabbitmq']}."
    )


def _aims(figures: Figures) -> str:
    """Return the figures that have an aim, of the parts of this checkout."""
    rows = [
        (f"{name}: {figure}" if name != end_to_end.PART else figure, *cells)
        for name, each in figures.parts().items()
        if " of " not in name
        for figure, *cells in figures.rows(each)
        if cells[-1]
    ]
    return markdown(HEAD, rows) if rows else ""


def _picture(figures: Figures) -> str:
    """Return a chart of what each process takes of an order's processor time."""
    shares = [
        (figure.name.removeprefix(end_to_end.OF), figure.median)
        for figure in figures.parts().get(end_to_end.PART, ())
        if figure.name.startswith(end_to_end.OF)
    ]
    if not shares:
        return ""
    lines = [
        f'  "{name}" : {milliseconds:.2f}'
        for name, milliseconds in sorted(shares, key=lambda share: -share[1])
        if milliseconds >= 0.01
    ]
    title = "pie showData title Processor time of an order until it is told, ms"
    return "\n".join(("```mermaid", title, *lines, "```"))
