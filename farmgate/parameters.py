"""Numbers that people type: digits 0 to 9 as they stand there, and nothing that Python reads more.

`1e3`, `NaN`, `1_000`, `10,00` and digits of other scripts are slips, and a slip is no amount.
"""

import re
from typing import Any

import click

from shared.runtime import strict_json


def _check(
    kind: click.ParamType[Any],
    pattern: str,
    value: Any,
    param: click.Parameter | None,
    ctx: click.Context | None,
) -> None:
    if isinstance(value, str) and re.fullmatch(pattern, value, re.ASCII) is None:
        kind.fail(f"{value!r} is not written in the digits 0 to 9, such as 12.", param, ctx)


def json_value(text: str) -> Any:
    """Return a value that was typed as JSON; of numbers only those in plain digits.

    Raises:
        ValueError: it is none.
    """
    if re.fullmatch("-?[0-9.]+[eE][+-]?[0-9]+", text.strip()):
        raise ValueError(f"{text} is not written in plain digits")
    return strict_json.read(text.encode())


class WholeNumber(click.IntRange):  # noqa: TID251
    """A whole number, within limits if there are some."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number."""
        _check(self, r"-?[0-9]{1,18}", value, param, ctx)
        return super().convert(value, param, ctx)


class Seconds(click.FloatRange):  # noqa: TID251
    """A span of time, within limits."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number of seconds."""
        _check(self, r"[0-9]{1,9}(\.[0-9]{1,9})?", value, param, ctx)
        return super().convert(value, param, ctx)


#: Of commands by `Client.post_once`.
ANOTHER = click.option(
    "--another",
    metavar="TEXT",
    help="For a second one of the same within 24 hours: what tells them apart, such as a receipt's "
    "number. Else the same command does nothing again.",
)


class Yuan(click.ParamType[int]):
    """An amount in yuan as people write it: 12, 12.5 or 12.50; the value is in fen."""

    name = "yuan"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the amount in fen."""
        found = re.fullmatch(r" *([0-9]{1,10})(?:\.([0-9]{1,2}))? *", str(value))
        if found is None:
            self.fail(
                f"{value!r} is no amount in yuan: write it in the digits 0 to 9, with at most two "
                "decimals after a point and without separators, such as 1250.50.",
                param,
                ctx,
            )
        return int(found[1]) * 100 + int((found[2] or "").ljust(2, "0"))
