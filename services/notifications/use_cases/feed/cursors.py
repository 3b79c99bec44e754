"""Cursors: opaque names of a place in one subscription's feed."""

import base64
import hashlib
import re

from services.notifications.models import Subscription
from services.notifications.use_cases.feed.read import Feed
from shared.runtime.errors import Conflict, Gone
from shared.runtime.paging import MalformedCursor

_CHECK_BYTES = 6
_PLACE = re.compile("([0-9]{1,18})\\.([0-9]{1,18})")


class CursorExpired(Gone):
    """Raised when entries behind the cursor were deleted because of their age."""


class EpochChanged(Conflict):
    """Raised when a backup was restored since the cursor was given: entries may be other ones."""


def cursor_of(feed: Feed, position: int) -> str:
    """Return the cursor behind the entry at `position`; 0: before the first entry."""
    return _encode(feed.subscription, feed.epoch, position)


def position_of(feed: Feed, cursor: str | None) -> int:
    """Return the position that a cursor names; without a cursor the one before the oldest entry.

    Raises:
        MalformedCursor: it is no cursor of this feed.
        CursorExpired: entries behind it are deleted; it names the oldest cursor.
        EpochChanged: a backup was restored; it names the cursor of the last certain place.
    """
    subscription, epoch = feed
    if cursor is None:
        return subscription.pruned_position
    given, position = _decode(subscription, cursor)
    if given != epoch or position > subscription.last_position:
        # An epoch begins where the restored backup ended: the entries up to there are the same.
        starts = (start for number, start in subscription.epochs if number > given)
        certain = max(
            min(position, subscription.last_position, *starts), subscription.pruned_position
        )
        raise EpochChanged(
            f"A backup was restored: epoch {epoch} has begun. Go on with `cursor`, and drop "
            "events whose ids you have already.",
            epoch=epoch,
            cursor=cursor_of(feed, certain),
        )
    if position < subscription.pruned_position:
        raise CursorExpired(
            "The events behind this cursor are older than the feed keeps them. Go on with "
            "`oldest_cursor`, and get the present state of your orders from their own API.",
            oldest_cursor=cursor_of(feed, subscription.pruned_position),
        )
    return position


def _check(subscription: Subscription, place: bytes) -> bytes:
    """Return a checksum that binds a cursor to its subscription; it is no secret."""
    key = subscription.id.bytes
    return hashlib.blake2b(place, digest_size=_CHECK_BYTES, key=key).digest()


def _encode(subscription: Subscription, epoch: int, position: int) -> str:
    place = f"{epoch}.{position}".encode()
    return base64.urlsafe_b64encode(_check(subscription, place) + place).decode().rstrip("=")


def _decode(subscription: Subscription, cursor: str) -> tuple[int, int]:
    """Return epoch and position.

    Raises:
        MalformedCursor: it is no cursor of this subscription.
    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        check, place = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
        match = _PLACE.fullmatch(place.decode())
    except ValueError:
        match = None
    if match is None or check != _check(subscription, place):
        raise MalformedCursor(
            "This is no cursor of your feed. Leave `after` out to begin at the oldest event."
        )
    return int(match[1]), int(match[2])
