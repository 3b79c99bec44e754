"""Rules for webhooks: when an attempt is repeated, and what it means for its endpoint."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from shared.runtime.backoff import pause_after
from shared.runtime.errors import Unprocessable

#: `suspended`: its partner or an operator asked for it, or every attempt failed for `PATIENCE`.
#: `disabled`: its server answered 410. Both keep their place in the feed until they are resumed.
ENDPOINT_STATUSES = ("active", "suspended", "disabled")
#: `waiting`: not tried yet, perhaps since an earlier event of its subject is not delivered.
#: `expired`: the feed's retention ended first.
DELIVERY_STATUSES = ("waiting", "retrying", "delivered", "expired", "failed")
#: The pauses after the first failures of a delivery: 3 days together. Source: Standard Webhooks.
PAUSES = (
    timedelta(seconds=5),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=20),
)
#: The pause after any later failure; the delivery goes on until the feed's retention ends.
LAST_PAUSE = timedelta(hours=24)
#: How much of a pause chance adds or takes: deliveries that failed together are not tried together.
JITTER = 0.1
#: How long every attempt may fail before the endpoint is suspended.
PATIENCE = timedelta(days=3)
#: Deliveries in a row whose failure pauses the whole endpoint: its server is down.
PAUSE_AFTER = 5
#: The first and the longest pause of an endpoint.
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=5), timedelta(minutes=5)
#: The longest `Retry-After` that is obeyed.
LONGEST_RETRY_AFTER = timedelta(hours=24)
#: Statuses that speak of the server and not of the event: `Retry-After` pauses the endpoint.
OVERLOADED = (429, 502, 503, 504)
GONE = 410
#: How long the secret before the last change still signs, by default and at most, in hours.
OVERLAP_HOURS, MOST_OVERLAP_HOURS = 24, 168
#: Attempts that a delivery's log keeps, the newest.
MOST_TRIES = 20
#: Characters of an endpoint's URL at most.
LONGEST_URL = 500
#: Endpoints of one partner at most.
MOST_ENDPOINTS = 20


class UrlNotAllowed(Unprocessable):
    """Raised when no webhook may be sent to a URL."""


@dataclass(frozen=True)
class Answer:
    """The outcome of one attempt.

    `status` is the HTTP status, None without an answer; `reason` is None for a success, else a
    word such as `timeout` or `http_500`.
    """

    status: int | None
    reason: str | None
    milliseconds: int
    retry_after: timedelta | None = None


@dataclass(frozen=True)
class Health:
    """The state of an endpoint as far as attempts change it."""

    status: str = "active"
    #: Why it is not active: `asked`, `failing` or `gone`.
    reason: str | None = None
    #: Deliveries that failed since the last success, and the moment of the first failure.
    failures: int = 0
    failing_since: datetime | None = None
    #: Nothing is sent before this moment.
    paused_until: datetime | None = None

    @property
    def is_down(self) -> bool:
        """Whether its server seems to be down: deliveries are tried one at a time."""
        return self.failures >= PAUSE_AFTER


def health_after(health: Health, answer: Answer, moment: datetime, *, first: bool) -> Health:
    """Return an endpoint's health after an attempt that ended at `moment`.

    Only the `first` attempt of a delivery counts as a failure of the server: one event that the
    server cannot handle must not delay those of other subjects.
    """
    if health.status != "active":
        return health  # an attempt that was under way when the endpoint was suspended
    if answer.reason is None:
        return Health()
    failing_since = health.failing_since or moment
    counted = health.failures + (first or health.is_down)
    failed = replace(health, failures=counted, failing_since=failing_since)
    if answer.status == GONE:
        return replace(failed, status="disabled", reason="gone", paused_until=None)
    if moment - failing_since >= PATIENCE:
        return replace(failed, status="suspended", reason="failing", paused_until=None)
    pause = timedelta()
    if failed.is_down:
        pause = pause_after(failed.failures - PAUSE_AFTER + 1, FIRST_PAUSE, LONGEST_PAUSE)
    if answer.retry_after is not None and answer.status in OVERLOADED:
        pause = max(pause, min(answer.retry_after, LONGEST_RETRY_AFTER))
    return replace(failed, paused_until=moment + pause if pause else None)


def next_try(attempts: int, answer: Answer, moment: datetime, jitter: float) -> datetime:
    """Return when a delivery that failed `attempts` times is tried again.

    `jitter` is a random number from -1 to 1.
    """
    pause = PAUSES[attempts - 1] if attempts <= len(PAUSES) else LAST_PAUSE
    pause *= 1 + JITTER * jitter
    if answer.retry_after is not None:
        pause = max(pause, min(answer.retry_after, LONGEST_RETRY_AFTER))
    return moment + pause


def is_wanted(type_: str, patterns: Sequence[str]) -> bool:
    """Tell whether an endpoint gets events of a type; without patterns it gets all."""
    return not patterns or any(fnmatchcase(type_, pattern) for pattern in patterns)


def check_url(url: str, *, private_networks: bool) -> str:
    """Return the URL of an endpoint.

    Its host's address is checked at each attempt, since a name's address can change.

    Raises:
        UrlNotAllowed: it is malformed, has a user or a fragment, or is not https. With
            `private_networks` it may be http: each attempt checks that it leads into one.
    """
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise UrlNotAllowed(f"This is no URL: {error}.") from error
    schemes = ("https", "http") if private_networks else ("https",)
    if parts.scheme not in schemes or not host or port == 0:
        raise UrlNotAllowed(f"Give a URL that begins with {schemes[0]}:// and has a host.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise UrlNotAllowed(
            "The URL must have neither a user nor a fragment; the signature proves the sender."
        )
    if not url.isascii() or not url.isprintable() or any(each in url for each in ' "<>\\^`{|}'):
        raise UrlNotAllowed("Write characters other than ASCII percent-encoded, hosts in punycode.")
    return url
