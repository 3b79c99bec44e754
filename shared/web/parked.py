"""The routes every service has for its parked events: look, replay, edit, discard, who did what."""

from typing import Any
from uuid import UUID

from marshmallow import ValidationError, fields, validate, validates_schema
from sqlalchemy import select

from shared.messaging import repairs
from shared.messaging.batch import Batch
from shared.messaging.tables import Parked, ParkedAction
from shared.runtime.paging import Page, PageRequest, page, page_of, place_of
from shared.runtime.schemas import RequestSchema, ResponseSchema, Text
from shared.web.access import caller, scope
from shared.web.requests import Blueprint
from shared.web.trace import ParkedResponse
from shared.web.transactions import idempotent, reading, transaction

STATES = ("waiting", "behind", "suspect", "dead")
#: Characters of a reason that an operator may give.
LONGEST_WHY = 500


class ListParkedRequest(PageRequest):
    """Which parked events to list."""

    state = fields.String(validate=validate.OneOf(STATES))
    reason = fields.String(validate=validate.Length(min=1, max=40))
    type = fields.String(validate=validate.Length(min=1, max=255))
    subject = fields.String(validate=validate.Length(min=1, max=300))


class ReplayRequest(RequestSchema):
    """Why it should work now."""

    why = Text(LONGEST_WHY, load_default=None)


class ReplayAllRequest(ReplayRequest):
    """Which of them; all when both are left out."""

    reason = fields.String(validate=validate.Length(min=1, max=40))
    type = fields.String(validate=validate.Length(min=1, max=255))


class DiscardRequest(RequestSchema):
    """Why it may be given up; it is kept."""

    why = Text(LONGEST_WHY, required=True)


class EditRequest(RequestSchema):
    """Which data the event has from now on, and why; the data as they were are kept.

    Either all of `data`, or `changes`: values by path, such as `lines.0.quantity`.
    """

    why = Text(LONGEST_WHY, required=True)
    data = fields.Dict(keys=fields.String())
    changes = fields.Dict(keys=fields.String(), validate=validate.Length(min=1))

    @validates_schema
    def check_one_of_both(self, told: dict[str, Any], **_: Any) -> None:
        """Refuse an edit that changes nothing, or says twice what to change.

        Raises:
            ValidationError: neither or both of data and changes are given.
        """
        if ("data" in told) == ("changes" in told):
            raise ValidationError("Give data or changes, and not both.", "data")


class ParkedEventResponse(ParkedResponse):
    """An event that could not take effect here yet, or waits behind one that could not."""

    publisher = fields.String(required=True)


class ShownResponse(ResponseSchema):
    """A parked event with its payload and how many wait behind it.

    Values that may be personal are shown as `…`; null means that it is no event at all.
    """

    event = fields.Nested(ParkedEventResponse, required=True)
    payload = fields.Dict(keys=fields.String(), required=True, allow_none=True)
    behind = fields.Integer(required=True)


class GroupResponse(ResponseSchema):
    """Parked events that failed alike."""

    reason = fields.String(required=True)
    type = fields.String(required=True)
    error = fields.String(required=True, allow_none=True)
    count = fields.Integer(required=True)
    oldest = fields.AwareDateTime(required=True)


class GroupsResponse(ResponseSchema):
    """What is parked, by error, the oldest first."""

    groups = fields.List(fields.Nested(GroupResponse), required=True)


class ReplayedResponse(ResponseSchema):
    """How many are tried again."""

    replayed = fields.Integer(required=True)


class ActionResponse(ResponseSchema):
    """What an operator did about a parked event.

    `before` and `after` are the data of an edited one, with `…` for what may be personal.
    """

    event_id = fields.UUID(required=True)
    type = fields.String(required=True)
    subject = fields.String(required=True)
    action = fields.String(required=True)
    reason = fields.String(required=True)
    error = fields.String(required=True, allow_none=True)
    attempts = fields.Integer(required=True)
    actor = fields.String(required=True)
    why = fields.String(required=True, allow_none=True)
    done_at = fields.AwareDateTime(required=True)
    before = fields.Dict(keys=fields.String(), required=True, allow_none=True)
    after = fields.Dict(keys=fields.String(), required=True, allow_none=True)


def blueprint_of(service: str) -> Blueprint:
    """Return the routes of `service`, below `/api/<service>/v1/parked`."""
    blp = Blueprint(
        "parked",
        __name__,
        url_prefix=f"/api/{service}/v1/parked",
        description="Events that could not take effect yet, for operators.",
    )

    @blp.get("")
    @scope("operate")
    @blp.arguments(ListParkedRequest, location="query")
    @blp.response(200, page_of(ParkedEventResponse))
    def list_parked(query: dict[str, Any]) -> Page[Parked]:
        """List parked events in the order in which they came."""
        place = place_of(query)
        with reading() as session:
            return page(session, repairs.matching(**query), Parked.arrival, **place)

    @blp.get("/groups")
    @scope("operate")
    @blp.response(200, GroupsResponse)
    def list_groups() -> dict[str, Any]:
        """List what is parked by error, the oldest first, with counts.

        What waits behind another event of its subject is not counted.
        """
        with reading() as session:
            return {"groups": repairs.groups(session)}

    @blp.get("/actions")
    @scope("operate")
    @blp.arguments(PageRequest, location="query")
    @blp.response(200, page_of(ActionResponse))
    def list_actions(query: dict[str, Any]) -> Page[ParkedAction]:
        """List what operators did about parked events, the newest first."""
        with reading() as session:
            return page(session, select(ParkedAction), ParkedAction.id, descending=True, **query)

    @blp.get("/<uuid:event_id>")
    @scope("operate")
    @blp.response(200, ShownResponse)
    def show_parked(event_id: UUID) -> repairs.ParkedDetail:
        """Show a parked event, its payload without personal data, and what waits behind it."""
        with reading() as session:
            return repairs.show(session, event_id)

    @blp.post("/replay")
    @scope("operate")
    @idempotent
    @blp.arguments(ReplayAllRequest)
    @blp.response(200, ReplayedResponse)
    def replay_parked(which: dict[str, Any]) -> dict[str, int]:
        """Let all that failed alike be tried again at once; those behind them follow."""
        with transaction(Batch) as batch:
            return {"replayed": repairs.replay_all(batch.session, caller().subject, **which)}

    @blp.post("/<uuid:event_id>/replay")
    @scope("operate")
    @idempotent
    @blp.arguments(ReplayRequest)
    @blp.response(200, ParkedEventResponse)
    def replay_one(told: dict[str, Any], event_id: UUID) -> Parked:
        """Let a parked event be tried again at once; those behind it follow."""
        with transaction(Batch) as batch:
            return repairs.replay(batch.session, event_id, caller().subject, told["why"])

    @blp.post("/<uuid:event_id>/edit")
    @scope("operate")
    @idempotent
    @blp.arguments(EditRequest)
    @blp.response(200, ParkedEventResponse)
    def edit_one(told: dict[str, Any], event_id: UUID) -> Parked:
        """Give a parked event other data in this service, and let it be tried again in its place.

        The event's contract must allow them; the feed and other services keep what was published.
        """
        with transaction(Batch) as batch:
            return repairs.edit(batch.session, event_id, caller().subject, **told)

    @blp.post("/<uuid:event_id>/discard")
    @scope("operate")
    @idempotent
    @blp.arguments(DiscardRequest)
    @blp.response(200, ParkedEventResponse)
    def discard_one(told: dict[str, Any], event_id: UUID) -> Parked:
        """Give a parked event up for good; those behind it go on without it."""
        with transaction(Batch) as batch:
            return repairs.discard(batch.session, event_id, caller().subject, told["why"])

    return blp
