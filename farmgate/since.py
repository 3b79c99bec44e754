"""A command's option for a moment in the past."""

import re
from datetime import datetime, timedelta
from typing import NoReturn

import click

from shared.runtime.clock import now

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class Since(click.ParamType[datetime]):
    """A moment in the past, as a duration until now (90m, 12h, 2d) or ISO 8601 with a zone."""

    name = "since"

    def convert(
        self,
        value: str | datetime,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> datetime:
        """Return the moment."""
        if isinstance(value, datetime):
            return value
        duration = re.fullmatch("([0-9]+)([mhd])", value)
        try:
            if duration:
                return now() - timedelta(**{_UNITS[duration[2]]: int(duration[1])})
            moment = datetime.fromisoformat(value)
        except (ValueError, OverflowError):
            self._refuse(f"{value!r} is no date and time", param, ctx)
        if moment.tzinfo is None:
            self._refuse(f"{value!r} has no time zone", param, ctx)
        if moment > now():
            self._refuse(f"{value!r} is in the future", param, ctx)
        return moment

    def _refuse(
        self, why: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> NoReturn:
        self.fail(
            f"{why}. Give 90m, 12h or 2d, or a time such as 2026-08-01T08:00+08:00.", param, ctx
        )
