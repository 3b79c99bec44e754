"""Routes for partners: their subscription, and the events in its feed."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from urllib.parse import urlencode

from flask import Response, request, url_for
from sqlalchemy.orm import Session

from services.notifications.api.waiting import Seats, look_until, server_stops
from services.notifications.batch import NotificationsBatch
from services.notifications.models import PartnerAction, Subscription
from services.notifications.rules.feed import FEED_TYPES, UnknownTypes, types_among, wanted
from services.notifications.schemas import events as schemas
from services.notifications.use_cases import feed
from services.notifications.use_cases.feed import Entry, Feed, Part
from shared.runtime.database import Database
from shared.runtime.paging import Page
from shared.web import Blueprint, caller, database, reading, scope, transaction
from shared.web.access import MissingScope
from shared.web.paging import PageRequest, page_arguments

blp = Blueprint(
    "events",
    __name__,
    url_prefix="/api/events/v1",
    description="Partners' events: each partner has a feed of its own, numbered without a gap.",
)

JSON, LINES, STREAM = "application/json", "application/x-ndjson", "text/event-stream"
#: The scope of what concerns other partners.
OPERATE = "events:operate"
#: Seconds after which a stream ends, and its client reconnects: tokens expire and are revoked.
LONGEST_STREAM = 300.0
#: Seconds without an event after which a stream sends a comment: proxies drop silent connections.
HEARTBEAT = 15.0
#: Events of a stream that are read at once.
STREAMED = 100

_seats = Seats()


@blp.get("/events")
@scope("events:read")
@blp.arguments(schemas.ReadEventsRequest, location="query")
@blp.response(200, schemas.EventsResponse)
@blp.doc(
    responses={
        200: {
            "description": "The next events, perhaps none",
            "headers": {
                "Link": {
                    "description": 'With `rel="next"`: the address of the next events.',
                    "required": True,
                    "schema": {"type": "string"},
                }
            },
            "content": {
                LINES: {"schema": {"type": "string"}},
                STREAM: {"schema": {"type": "string"}},
            },
        },
        **{status: status_name for status, status_name in ((409, "CONFLICT"), (410, "GONE"))},
        422: "UNPROCESSABLE_ENTITY",
    }
)
def read_events(query: dict[str, Any]) -> Response:
    """Read the events of your feed behind a cursor.

    The feed has the events of your own orders and their shipments, in the order in which they
    happened for each order. Its positions are 1, 2, 3, …: a missing position is a lost event. Keep
    `next` together with the work that the events caused, and pass it as `after`; a cursor stays
    valid as long as the events behind it are kept, and reading moves nothing.

    `Accept: application/x-ndjson` gets one event a line, and the next address in the header
    `Link`. `Accept: text/event-stream` gets server-sent events, which go on until the connection
    ends; `Last-Event-ID` is the cursor to go on from.

    A cursor whose events were deleted because of their age gets 410 cursor-expired with the
    `oldest_cursor`. After a restored backup 409 epoch-changed names the new `epoch`, and in
    `cursor` the place to go on from: drop events whose ids you have already.
    """
    partner = partner_of(query.get("partner"))
    types = _types(query.get("types"))
    media = request.accept_mimetypes.best_match([JSON, LINES, STREAM]) or JSON
    if media == STREAM:
        return _stream(partner, request.headers.get("Last-Event-ID") or query.get("after"), types)
    limit = query["limit"]
    with reading() as session:
        found = feed.find_feed(session, partner)
        position = feed.position_of(found, query.get("after"))
        part = feed.read_part(session, found.subscription, position, limit, types)
    if not part.entries and query["wait"]:
        leave = _seats.take(partner)
        try:
            deadline = time.monotonic() + query["wait"]
            look = _look(reading, partner, part.through, limit, types)
            later = look_until(deadline, look, server_stops())
        finally:
            leave()
        if later is not None:
            found, part = later
    return _answer(media, found, part, query)


def _look(
    sessions: Callable[[], AbstractContextManager[Session]],
    partner: str,
    position: int,
    limit: int,
    types: frozenset[str] | None,
) -> Callable[[], tuple[Feed, Part] | None]:
    """Return a function that reads the entries behind `position`; it returns None for none."""
    place = position

    def look() -> tuple[Feed, Part] | None:
        nonlocal place
        with sessions() as session:
            found = feed.find_feed(session, partner)
            if found.subscription.last_position <= place:
                return None
            part = feed.read_part(session, found.subscription, place, limit, types)
        place = part.through
        return (found, part) if part.entries else None

    return look


def _answer(media: str, found: Feed, part: Part, query: dict[str, Any]) -> Response:
    after = feed.cursor_of(found, part.through)
    items = [_item(found, entry) for entry in part.entries]
    if media == LINES:
        body = b"".join(item + b"\n" for item in items)
    else:
        more = b"true" if part.through < found.subscription.last_position else b"false"
        body = b'{"events":[%s],"next":"%s","more":%s}' % (b",".join(items), after.encode(), more)
    again = {**request.args.to_dict(), "after": after}
    link = f'<{url_for("events.read_events")}?{urlencode(again)}>; rel="next"'
    return Response(body, content_type=media, headers={"Link": link})


def _item(found: Feed, entry: Entry) -> bytes:
    """Return an entry as JSON; the event's own bytes are in it unchanged."""
    cursor = feed.cursor_of(found, entry.position).encode()
    return b'{"position":%d,"cursor":"%s","event":%s}' % (entry.position, cursor, entry.body)


def _stream(partner: str, after: str | None, types: frozenset[str] | None) -> Response:
    with reading() as session:
        found = feed.find_feed(session, partner)
        position = feed.position_of(found, after)
    leave = _seats.take(partner)
    here = database()
    sent = _sent(here, partner, position, types, server_stops())
    answer = Response(sent, content_type=STREAM)
    answer.call_on_close(leave)  # also if the client has gone before the first byte
    answer.headers["X-Accel-Buffering"] = "no"  # a proxy passes each event on at once
    return answer


def _sent(
    here: Database,
    partner: str,
    position: int,
    types: frozenset[str] | None,
    is_over: Callable[[], bool],
) -> Iterator[bytes]:
    """Yield a feed's entries as server-sent events, without the request's context."""
    end = time.monotonic() + LONGEST_STREAM

    @contextmanager
    def sessions() -> Iterator[Session]:
        with here.limit("request"), here.readers() as session:
            yield session

    look = _look(sessions, partner, position, STREAMED, types)
    yield b"retry: 2000\n\n"
    while (now := time.monotonic()) < end and not is_over():
        later = look() or look_until(min(now + HEARTBEAT, end), look, is_over)
        if later is None:
            yield b":\n\n"
            continue
        found, part = later
        yield b"".join(
            b"id: %s\ndata: %s\n\n"
            % (feed.cursor_of(found, entry.position).encode(), _item(found, entry))
            for entry in part.entries
        )


def partner_of(named: str | None) -> str:
    """Return whose feed is asked for.

    Raises:
        MissingScope: it is another partner's, and the caller is no operator.
    """
    own = caller().subject
    if named is not None and named != own and not caller().may(OPERATE):
        raise MissingScope(f"Another partner's feed needs the scope {OPERATE}.", scope=OPERATE)
    return named or own


def _types(patterns: str | None) -> frozenset[str] | None:
    """Return the event types that match the patterns; None: all.

    Raises:
        UnknownTypes: a pattern matches no type.
    """
    if patterns is None:
        return None
    found: frozenset[str] = frozenset()
    for pattern in patterns.split(","):
        matching = types_among(FEED_TYPES, (pattern,))
        if not matching:
            raise UnknownTypes(f"{pattern} matches no event type.")
        found |= matching
    return found


@blp.get("/subscription")
@scope("events:read")
@blp.response(200, schemas.SubscriptionResponse)
def show_subscription() -> dict[str, Any]:
    """Show your subscription, with the places of its oldest and its newest event."""
    return _show(caller().subject)


@blp.put("/subscription")
@scope("events:manage")
@blp.arguments(schemas.SubscriptionRequest)
@blp.response(200, schemas.SubscriptionResponse)
def subscribe(subscription_in: dict[str, Any]) -> dict[str, Any]:
    """Subscribe, or change the event types of your subscription.

    From then on the events enter your feed. A change concerns later events only.
    """
    me = caller().subject
    with transaction(NotificationsBatch) as batch:
        feed.subscribe(batch, me, me, subscription_in["types"])
    return _show(me)


@blp.get("/subscriptions")
@scope(OPERATE)
@blp.arguments(PageRequest, location="query")
@blp.response(200, schemas.SubscriptionPage)
def list_subscriptions(query: dict[str, Any]) -> Page[Subscription]:
    """List the subscriptions of all partners, by their names."""
    with reading() as session:
        return feed.list_subscriptions(session, **page_arguments(query))


@blp.get("/subscriptions/<string(maxlength=255):partner>")
@scope(OPERATE)
@blp.response(200, schemas.SubscriptionResponse)
def show_subscription_of(partner: str) -> dict[str, Any]:
    """Show a partner's subscription."""
    return _show(partner)


@blp.put("/subscriptions/<string(maxlength=255):partner>")
@scope(OPERATE)
@blp.arguments(schemas.SubscriptionRequest)
@blp.response(200, schemas.SubscriptionResponse)
def subscribe_partner(subscription_in: dict[str, Any], partner: str) -> dict[str, Any]:
    """Subscribe a partner, or change the event types of its subscription."""
    with transaction(NotificationsBatch) as batch:
        feed.subscribe(batch, partner, caller().subject, subscription_in["types"])
    return _show(partner)


@blp.put("/subscriptions/<string(maxlength=255):partner>/grants")
@scope(OPERATE)
@blp.arguments(schemas.GrantsRequest)
@blp.response(200, schemas.SubscriptionResponse)
def set_grants(grants_in: dict[str, Any], partner: str) -> dict[str, Any]:
    """Set what a partner gets besides the events of its own orders; it is subscribed if needed."""
    with transaction(NotificationsBatch) as batch:
        feed.grant(batch, partner, caller().subject, grants_in["grants"])
    return _show(partner)


@blp.delete("/subscriptions/<string(maxlength=255):partner>")
@scope(OPERATE)
@blp.response(204)
def unsubscribe_partner(partner: str) -> None:
    """Remove a partner's subscription with its feed; all its cursors become invalid."""
    with transaction(NotificationsBatch) as batch:
        feed.remove_subscription(batch, partner, caller().subject)


@blp.get("/actions")
@scope("events:read")
@blp.arguments(schemas.ListActionsRequest, location="query")
@blp.response(200, schemas.PartnerActionPage)
def list_partner_actions(query: dict[str, Any]) -> Page[PartnerAction]:
    """List what was done to your access, newest first; operators see that of all partners."""
    arguments = page_arguments(query)
    partner = query.get("partner")
    if not caller().may(OPERATE):
        partner = partner_of(partner)
    with reading() as session:
        return feed.list_actions(session, partner=partner, **arguments)


def _show(partner: str) -> dict[str, Any]:
    with reading() as session:
        found = feed.find_feed(session, partner)
    subscription = found.subscription
    types = wanted(tuple(subscription.types), tuple(subscription.grants))
    return {
        "partner": partner,
        "types": subscription.types,
        "grants": subscription.grants,
        "own_types": _sorted(types.own),
        "wide_types": _sorted(types.wide),
        "oldest_cursor": feed.cursor_of(found, subscription.pruned_position),
        "newest_cursor": feed.cursor_of(found, subscription.last_position),
        "oldest_position": subscription.pruned_position + 1,
        "newest_position": subscription.last_position,
        "epoch": found.epoch,
        "created_at": subscription.created_at,
    }


def _sorted(types: frozenset[str]) -> Sequence[str]:
    return sorted(types)
