"""Parameter types of commands: numbers in the digits 0 to 9, and amounts in yuan.

Python also reads `1e3`, `NaN`, `1_000` and digits of other scripts as numbers. In a command these
are typing errors, so they are refused.
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
    """Return the value of JSON that a person typed; numbers with an exponent are refused.

    Raises:
        ValueError: it is no JSON.
    """
    if re.fullmatch("-?[0-9.]+[eE][+-]?[0-9]+", text.strip()):
        raise ValueError(f"{text} is not written in plain digits")
    return strict_json.read(text.encode())


class WholeNumber(click.IntRange):  # noqa: TID251
    """An integer, optionally with limits."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number."""
        _check(self, r"-?[0-9]{1,18}", value, param, ctx)
        return super().convert(value, param, ctx)


class Seconds(click.FloatRange):  # noqa: TID251
    """A duration in seconds, optionally with limits."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number of seconds."""
        _check(self, r"[0-9]{1,9}(\.[0-9]{1,9})?", value, param, ctx)
        return super().convert(value, param, ctx)


#: For commands that use `Client.post_once`.
ANOTHER = click.option(
    "--another",
    metavar="TEXT",
    help="Do the same a second time within 24 hours. TEXT tells the two apart, such as a receipt "
    "number. Without it, a repeated command does nothing.",
)


class Yuan(click.ParamType[int]):
    """An amount that people type in yuan (12, 12.5 or 12.50); its value is in fen."""

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
