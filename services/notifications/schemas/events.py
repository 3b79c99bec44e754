"""Requests and answers of partners' event API."""

from marshmallow import fields, validate

from services.notifications.rules.feed import GRANTS, LONGEST_PATTERN, MOST_PATTERNS
from shared import web
from shared.runtime.paging import LONGEST_CURSOR
from shared.runtime.schemas import matching
from shared.web.paging import PageRequest, page_of

#: A pattern of event types, as in file names.
PATTERN = f"[a-z0-9_.*?]{{1,{LONGEST_PATTERN}}}"
#: Events of one answer: by default, and at most.
USUAL, LARGEST = 100, 1000
#: Seconds that an answer waits for an event at most.
LONGEST_WAIT = 30


class ReadEventsRequest(web.RequestSchema):
    """Which events are asked for."""

    after = fields.String(
        validate=validate.Length(min=1, max=LONGEST_CURSOR),
        metadata={
            "description": "`next` of the answer before, or the `cursor` of an event; left out: "
            "from the oldest event on."
        },
    )
    types = matching(
        f"{PATTERN}(,{PATTERN}){{0,{MOST_PATTERNS - 1}}}",
        "Only these types, as patterns with commas between them: `orders.*`. The positions of the "
        "other events are then missing.",
    )
    wait = fields.Integer(
        load_default=0,
        validate=validate.Range(0, LONGEST_WAIT),
        metadata={"description": "Seconds to wait for an event if there is none."},
    )
    limit = fields.Integer(
        load_default=USUAL,
        validate=validate.Range(1, LARGEST),
        metadata={"description": "Events at most."},
    )
    partner = matching(
        "[^\\x00-\\x1f\\x7f]{1,255}", "Another partner's feed; needs the scope events:operate."
    )


class FeedEventResponse(web.ResponseSchema):
    """One event in a feed."""

    position = fields.Integer(
        required=True,
        metadata={"description": "1, 2, 3, … in your feed; a missing number is a lost event."},
    )
    cursor = fields.String(required=True, metadata={"description": "The place behind the event."})
    event = fields.Dict(
        required=True, metadata={"description": "The CloudEvent as it was published."}
    )


class EventsResponse(web.ResponseSchema):
    """The next events of a feed."""

    events = fields.List(fields.Nested(FeedEventResponse), required=True)
    next = fields.String(
        required=True, metadata={"description": "Pass it as `after` to go on; never null."}
    )
    more = fields.Boolean(
        required=True, metadata={"description": "Whether there are more events already."}
    )


class SubscriptionRequest(web.RequestSchema):
    """The events that a partner wants."""

    types = fields.List(
        matching(PATTERN, "An event type, or a pattern of types such as `orders.*`."),
        required=True,
        validate=validate.Length(max=MOST_PATTERNS),
        metadata={
            "description": "Patterns of event types, such as `orders.*`; empty: the events of "
            "your own orders and shipments, and what an operator granted you."
        },
    )


class GrantsRequest(web.RequestSchema):
    """What a partner gets besides its own orders."""

    grants = fields.List(
        fields.String(validate=validate.OneOf(tuple(GRANTS))),
        required=True,
        validate=validate.Length(max=len(GRANTS)),
        metadata={
            "description": "`orders`: everybody's orders; `station_sales`: what stations sell, and "
            "the cash and stock that they hold; `lots`: lots, their producers and stock; "
            "`company_prices`, `cooperative_prices`: the prices of that channel."
        },
    )


class SubscriptionResponse(web.ResponseSchema):
    """A partner's subscription."""

    partner = fields.String(required=True)
    types = fields.List(fields.String(), required=True)
    grants = fields.List(fields.String(), required=True)
    own_types = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "The event types that you get of your own orders."},
    )
    wide_types = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "The event types of which you get every event."},
    )
    oldest_cursor = fields.String(
        required=True, metadata={"description": "The place before the oldest event."}
    )
    newest_cursor = fields.String(
        required=True, metadata={"description": "The place behind the newest event."}
    )
    oldest_position = fields.Integer(
        required=True, metadata={"description": "Of the oldest event; one more if there is none."}
    )
    newest_position = fields.Integer(
        required=True, metadata={"description": "Of the newest event; 0: there was none."}
    )
    epoch = fields.Integer(
        required=True, metadata={"description": "Rises when a backup is restored."}
    )
    created_at = fields.AwareDateTime(required=True)


class SubscriptionItemResponse(web.ResponseSchema):
    """A subscription in a list."""

    partner = fields.String(required=True)
    types = fields.List(fields.String(), required=True)
    grants = fields.List(fields.String(), required=True)
    newest_position = fields.Integer(attribute="last_position", required=True)
    created_at = fields.AwareDateTime(required=True)


class ListActionsRequest(PageRequest):
    """Which actions are asked for."""

    partner = matching("[^\\x00-\\x1f\\x7f]{1,255}", "Only what was done to this partner.")


class PartnerActionResponse(web.ResponseSchema):
    """What somebody did to a partner's access."""

    action_id = fields.UUID(attribute="id", required=True)
    partner = fields.String(required=True)
    actor = fields.String(required=True, metadata={"description": "The token's subject."})
    action = fields.String(required=True)
    details = fields.Dict(required=True)
    done_at = fields.AwareDateTime(required=True)


SubscriptionPage = page_of(SubscriptionItemResponse)
PartnerActionPage = page_of(PartnerActionResponse)
