"""The routes for parked events of every service: list, show, replay, edit, discard, actions."""

from typing import Any
from uuid import UUID

from marshmallow import ValidationError, fields, validate, validates_schema
from sqlalchemy import select

from shared.messaging import repairs
from shared.messaging.batch import Batch
from shared.messaging.tables import Parked, ParkedAction
from shared.runtime.paging import Page, page
from shared.runtime.schemas import RequestSchema, ResponseSchema, Text
from shared.web.access import caller, scope
from shared.web.paging import PageRequest, page_arguments, page_of
from shared.web.requests import Blueprint
from shared.web.trace import ParkedResponse
from shared.web.transactions import idempotent, reading, transaction

STATES = ("waiting", "behind", "suspect", "dead")
#: Characters of an operator's reason at most.
LONGEST_WHY = 500


class ListParkedRequest(PageRequest):
    """Filters of the list of parked events."""

    state = fields.String(validate=validate.OneOf(STATES))
    reason = fields.String(validate=validate.Length(min=1, max=40))
    type = fields.String(validate=validate.Length(min=1, max=255))
    subject = fields.String(validate=validate.Length(min=1, max=300))


class ReplayRequest(RequestSchema):
    """The reason for the replay; optional."""

    why = Text(LONGEST_WHY, load_default=None)


class ReplayAllRequest(ReplayRequest):
    """Filters of the events to replay; without filters all are replayed."""

    reason = fields.String(validate=validate.Length(min=1, max=40))
    type = fields.String(validate=validate.Length(min=1, max=255))


class DiscardRequest(RequestSchema):
    """The reason for the discard; it is recorded."""

    why = Text(LONGEST_WHY, required=True)


class EditRequest(RequestSchema):
    """The new data of an event, and the reason; both the old and the new data are recorded.

    Send either all `data`, or `changes`: values by path, such as `lines.0.quantity`.
    """

    why = Text(LONGEST_WHY, required=True)
    data = fields.Dict(keys=fields.String())
    changes = fields.Dict(keys=fields.String(), validate=validate.Length(min=1))

    @validates_schema
    def check_one_of_both(self, edit_in: dict[str, Any], **_: Any) -> None:
        """Refuse an edit without changes, or with two kinds of changes.

        Raises:
            ValidationError: the request has neither or both of data and changes.
        """
        if ("data" in edit_in) == ("changes" in edit_in):
            raise ValidationError("Send either data or changes.", "data")


class ParkedEventResponse(ParkedResponse):
    """An event that could not take effect yet, or waits behind such an event of its subject."""

    publisher = fields.String(required=True)


class ShownResponse(ResponseSchema):
    """A parked event with its payload and the number of events behind it.

    `…` stands for values that may be personal. The payload is null if the bytes are no event.
    """

    event = fields.Nested(ParkedEventResponse, required=True)
    payload = fields.Dict(keys=fields.String(), required=True, allow_none=True)
    behind = fields.Integer(required=True)


class GroupResponse(ResponseSchema):
    """Parked events with the same reason, type and error."""

    reason = fields.String(required=True)
    type = fields.String(required=True)
    error = fields.String(required=True, allow_none=True)
    count = fields.Integer(required=True)
    oldest = fields.AwareDateTime(required=True)


class GroupsResponse(ResponseSchema):
    """Parked events grouped by error, the oldest first."""

    groups = fields.List(fields.Nested(GroupResponse), required=True)


class ReplayedResponse(ResponseSchema):
    """The number of replayed events."""

    replayed = fields.Integer(required=True)


class ActionResponse(ResponseSchema):
    """An operator's action on a parked event.

    `before` and `after` are the data of an edited event, with `…` for values that may be personal.
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
        """List parked events in the order of their arrival."""
        arguments = page_arguments(query)
        with reading() as session:
            return page(session, repairs.matching(**query), Parked.arrival, **arguments)

    @blp.get("/groups")
    @scope("operate")
    @blp.response(200, GroupsResponse)
    def list_groups() -> dict[str, Any]:
        """List parked events grouped by error, the oldest first, with counts.

        Events that wait behind another event of their subject are not counted.
        """
        with reading() as session:
            return {"groups": repairs.groups(session)}

    @blp.get("/actions")
    @scope("operate")
    @blp.arguments(PageRequest, location="query")
    @blp.response(200, page_of(ActionResponse))
    def list_actions(query: dict[str, Any]) -> Page[ParkedAction]:
        """List operators' actions on parked events, the newest first."""
        with reading() as session:
            return page(session, select(ParkedAction), ParkedAction.id, descending=True, **query)

    @blp.get("/<uuid:event_id>")
    @scope("operate")
    @blp.response(200, ShownResponse)
    def show_parked(event_id: UUID) -> repairs.ParkedDetail:
        """Show a parked event, without personal data, and the number of events behind it."""
        with reading() as session:
            return repairs.show(session, event_id)

    @blp.post("/replay")
    @scope("operate")
    @idempotent
    @blp.arguments(ReplayAllRequest)
    @blp.response(200, ReplayedResponse)
    def replay_parked(filters: dict[str, Any]) -> dict[str, int]:
        """Retry all events that failed alike at once; the events behind them follow."""
        with transaction(Batch) as batch:
            return {"replayed": repairs.replay_all(batch.session, caller().subject, **filters)}

    @blp.post("/<uuid:event_id>/replay")
    @scope("operate")
    @idempotent
    @blp.arguments(ReplayRequest)
    @blp.response(200, ParkedEventResponse)
    def replay_one(replay_in: dict[str, Any], event_id: UUID) -> Parked:
        """Retry a parked event at once; the events behind it follow."""
        with transaction(Batch) as batch:
            return repairs.replay(batch.session, event_id, caller().subject, replay_in["why"])

    @blp.post("/<uuid:event_id>/edit")
    @scope("operate")
    @idempotent
    @blp.arguments(EditRequest)
    @blp.response(200, ParkedEventResponse)
    def edit_one(edit_in: dict[str, Any], event_id: UUID) -> Parked:
        """Replace a parked event's data, in this service only, and retry it in its place.

        The event's contract must allow the data. The feed and other services keep the published
        event.
        """
        with transaction(Batch) as batch:
            return repairs.edit(batch.session, event_id, caller().subject, **edit_in)

    @blp.post("/<uuid:event_id>/discard")
    @scope("operate")
    @idempotent
    @blp.arguments(DiscardRequest)
    @blp.response(200, ParkedEventResponse)
    def discard_one(discard_in: dict[str, Any], event_id: UUID) -> Parked:
        """Discard a parked event; the events behind it go on."""
        with transaction(Batch) as batch:
            return repairs.discard(batch.session, event_id, caller().subject, discard_in["why"])

    return blp
