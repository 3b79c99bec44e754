"""The time, in one place, so that tests can move it."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

#: Calendar dates (harvest, best before, promises) are dates of this place.
LOCAL = ZoneInfo("Asia/Shanghai")
#: The dates (in UTC) that anybody may name. A clock that lost its battery (1970) lies within;
#: whatever is added (a shelf life of 100 years) is still a date that every database can hold.
FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2199, 12, 31)


def now() -> datetime:
    """Return the present moment, in UTC."""
    return datetime.now(UTC)


def today() -> date:
    """Return the present calendar date in Asia/Shanghai."""
    return now().astimezone(LOCAL).date()


def in_calendar(moment: datetime) -> datetime:
    """Return `moment` in UTC.

    Raises:
        ValueError: it has no offset from UTC, or is not from `FIRST_DAY` to `LAST_DAY`.
    """
    if moment.tzinfo is None:
        raise ValueError("has no offset from UTC")
    # In UTC, 0001-01-01T00:00:00+14:00 is no date at all; years from 2 to 9998 can be converted.
    near = FIRST_DAY.year - 1 <= moment.year <= LAST_DAY.year + 1
    if not near or not FIRST_DAY <= (found := moment.astimezone(UTC)).date() <= LAST_DAY:
        raise ValueError(f"is no moment from {FIRST_DAY} to {LAST_DAY} in UTC")
    return found


def rfc3339(moment: datetime) -> str:
    """Return `moment` as RFC 3339 in UTC with `Z`, microseconds kept."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
