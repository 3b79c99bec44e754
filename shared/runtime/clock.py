"""The current time, read in one place so that tests can set it."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

#: Calendar dates (harvest, best before, promised delivery) are in this time zone.
LOCAL = ZoneInfo("Asia/Shanghai")
#: The first and last date (in UTC) that input may contain. A device whose clock was reset (1970) is
#: within the range; a date plus a shelf life of 100 years is still valid in every database.
FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2199, 12, 31)


def now() -> datetime:
    """Return the current moment in UTC."""
    return datetime.now(UTC)


def today() -> date:
    """Return the current calendar date in Asia/Shanghai."""
    return now().astimezone(LOCAL).date()


def in_calendar(moment: datetime) -> datetime:
    """Return `moment` in UTC.

    Raises:
        ValueError: it has no offset from UTC, or is not from `FIRST_DAY` to `LAST_DAY`.
    """
    if moment.tzinfo is None:
        raise ValueError("has no offset from UTC")
    # The years are compared first: `astimezone` overflows near the years 1 and 9999.
    near = FIRST_DAY.year - 1 <= moment.year <= LAST_DAY.year + 1
    if not near or not FIRST_DAY <= (found := moment.astimezone(UTC)).date() <= LAST_DAY:
        raise ValueError(f"is not a moment from {FIRST_DAY} to {LAST_DAY} in UTC")
    return found


def rfc3339(moment: datetime) -> str:
    """Return `moment` as RFC 3339 in UTC with `Z`, microseconds kept."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
