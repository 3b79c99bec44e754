"""What the parts of the benchmark measure, and how it is written: JSON, a table, Markdown.

A part is a module of this folder with `def measure(surroundings, *, quick: bool) -> list[Figure]`.
It measures everything as often as it wants a median of, and names in each figure the limit that
it compares with: a figure of the same part, or of another as `part: name`.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

#: An aim that a program can judge: at most or at least a number, or so many times the limit.
AIM = re.compile(r"(?P<bound>[<≤≥>]) (?P<number>[\d.,]+)(?P<times> ×)?")
BOUNDS: Mapping[str, Callable[[float, float], bool]] = {
    "<": lambda value, bound: value < bound,
    "≤": lambda value, bound: value <= bound,
    "≥": lambda value, bound: value >= bound,
    ">": lambda value, bound: value > bound,
}


@dataclass(frozen=True)
class Figure:
    """One measured quantity.

    `values` has one value a run, in `unit`. `limit` is the name of the figure that this one is
    compared with. `aim` is `≤ 5.5`, `≥ 350` or the like; `≤ 2 ×` is about the ratio to the limit;
    several are separated by `; `.
    """

    part: str
    name: str
    unit: str
    values: tuple[float, ...]
    limit: str | None = None
    aim: str | None = None

    @property
    def median(self) -> float:
        """The median of the runs."""
        return median(self.values)

    @property
    def key(self) -> str:
        """What other parts call this figure."""
        return f"{self.part}: {self.name}"


class Figures:
    """The figures of one run of the benchmark; two figures of a part never have one name."""

    def __init__(self, figures: Iterable[Figure]) -> None:
        self.all = tuple(figures)
        self._by_key = {figure.key: figure for figure in self.all}
        if len(self._by_key) < len(self.all):
            raise ValueError("two figures of a part have one name")

    def limit_of(self, figure: Figure) -> Figure | None:
        """Return the figure that this one is compared with, if the run measured it."""
        if figure.limit is None:
            return None
        same_part = f"{figure.part}: {figure.limit}"
        return self._by_key.get(same_part) or self._by_key.get(figure.limit)

    def ratio(self, figure: Figure) -> float | None:
        """Return the figure as a multiple of its limit, of the medians."""
        limit = self.limit_of(figure)
        return figure.median / limit.median if limit is not None and limit.median else None

    def meets_aim(self, figure: Figure) -> bool | None:
        """Tell whether a figure meets all its aims; None where it has none that can be judged."""
        verdicts = []
        for found in AIM.finditer(figure.aim or ""):
            value = self.ratio(figure) if found["times"] else figure.median
            if value is not None:
                bound = float(found["number"].replace(",", ""))
                verdicts.append(BOUNDS[found["bound"]](value, bound))
        return all(verdicts) if verdicts else None

    def parts(self) -> dict[str, list[Figure]]:
        """Return the figures by part, in the order of their measurement."""
        found: dict[str, list[Figure]] = {}
        for figure in self.all:
            found.setdefault(figure.part, []).append(figure)
        return found

    def as_json(self) -> list[dict[str, Any]]:
        """Return what `from_json` reads."""
        return [asdict(figure) for figure in self.all]

    @classmethod
    def from_json(cls, rows: Iterable[Mapping[str, Any]]) -> "Figures":
        """Return the figures of an earlier run."""
        return cls(Figure(**{**row, "values": tuple(row["values"])}) for row in rows)

    def rows(self, figures: Iterable[Figure]) -> list[tuple[str, ...]]:
        """Return the lines of a table: name, median with unit, range, ratio to limit, aim."""
        found: list[tuple[str, ...]] = []
        for figure in figures:
            limit, ratio = self.limit_of(figure), self.ratio(figure)
            verdict = {True: " ✓", False: " ✗", None: ""}[self.meets_aim(figure)]
            found.append(
                (
                    figure.name,
                    f"{shown(figure.median)} {figure.unit}",
                    spread(figure.values),
                    f"{shown(ratio)} × {limit.name}" if limit and ratio is not None else "",
                    f"{figure.aim}{verdict}" if figure.aim else "",
                )
            )
        return found


HEAD = ("figure", "median", "runs", "compared with", "aim")


def shown(value: float) -> str:
    """Return a number with as many digits as mean something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(values: Sequence[float]) -> str:
    """Return the least and the greatest value of several runs."""
    if len(values) < 2:
        return ""
    return f"{shown(min(values))} to {shown(max(values))}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return lines whose columns are aligned, for a terminal."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]
    return "\n".join(lines)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return the same as a table of a page."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
