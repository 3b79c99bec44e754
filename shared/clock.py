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


def rfc3339(moment: datetime) -> str:
    """Return `moment` as RFC 3339 in UTC with `Z`, microseconds kept."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
