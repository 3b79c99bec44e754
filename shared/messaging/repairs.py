"""Operators' actions on parked events: show, replay, edit, discard.

Each action is recorded with actor, time and reason, in its own transaction. Nothing is handled
here: a replayed event becomes due at once, and the worker's retry timer handles it like any other,
so that order, inbox and the guard against killers are the same.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from shared.events import Fact
from shared.messaging import inbox, parked
from shared.messaging.envelope import (
    Envelope,
    Invalid,
    Unreadable,
    check_field,
    contract_of,
    decode,
    load_data,
    subject_of,
    unreadable,
    with_data,
)
from shared.messaging.tables import Inbox, Parked, ParkedAction
from shared.runtime.clock import now
from shared.runtime.errors import Conflict, NotFound, Unprocessable
from shared.runtime.ids import new_id
from shared.runtime.locks import advisory_lock
from shared.runtime.logs import get

log = get(__name__)

#: States of a subject's first event in which it is not being handled.
AT_REST = ("waiting", "dead")
#: The reason for parking bytes that are no event; no retry can help.
UNREADABLE = "unreadable"
#: Groups in a list at most. More groups are usually one error with a changing number in its text.
MOST_GROUPS = 200
#: Levels of nested objects that are compared; no contract has as many.
DEEPEST = 16
#: Shown instead of a value that may be personal.
HIDDEN, HIDDEN_CHANGE = "…", "… (changed)"


class ParkedEventNotFound(NotFound):
    """Raised when the event is not parked; it may have taken effect meanwhile."""


class WaitsBehindAnother(Conflict):
    """Raised when an event would be replayed before an older one of its subject."""


class BeingHandled(Conflict):
    """Raised while the worker handles the event, or will retry it after it died."""


class NoEvent(Conflict):
    """Raised when the parked bytes are no event, so that no retry can help."""


class UnknownContract(Conflict):
    """Raised when this version does not know the contract of the event to edit."""


class EditRefused(Unprocessable):
    """Raised when the contract does not allow the edited data; `errors` says where and why."""


@dataclass(frozen=True)
class Group:
    """Parked events with the same reason, type and error."""

    reason: str
    type: str
    error: str | None
    count: int
    oldest: datetime


@dataclass(frozen=True)
class ParkedDetail:
    """A parked event, its payload without personal data, and how many events wait behind it."""

    event: Parked
    payload: Mapping[str, Any] | None
    behind: int


def matching(
    reason: str | None = None,
    state: str | None = None,
    type: str | None = None,
    subject: str | None = None,
) -> Select[Parked]:
    """Return the query for the parked events that have all the given values."""
    wanted = {"reason": reason, "state": state, "type": type, "subject": subject}
    given = {name: value for name, value in wanted.items() if value is not None}
    return select(Parked).filter_by(**given)


def groups(session: Session) -> list[Group]:
    """Return the parked events grouped by error, the oldest first, without those behind another."""
    oldest = func.min(Parked.first_failed_at)
    rows = session.execute(
        select(Parked.reason, Parked.type, Parked.error, func.count(), oldest)
        .where(Parked.state != "behind")
        .group_by(Parked.reason, Parked.type, Parked.error)
        .order_by(oldest)
        .limit(MOST_GROUPS)
    )
    return [Group(*row) for row in rows]


def show(session: Session, event_id: UUID) -> ParkedDetail:
    """Return a parked event with its payload, without personal data.

    Raises:
        ParkedEventNotFound: it is not parked.
    """
    row = session.get(Parked, event_id)
    if row is None:
        raise _not_found(event_id)
    behind = session.scalar(
        select(func.count())
        .select_from(Parked)
        .where(Parked.subject == row.subject, Parked.arrival > row.arrival)
    )
    return ParkedDetail(row, _payload(row), behind or 0)


def replay(session: Session, event_id: UUID, actor: str, why: str | None) -> Parked:
    """Make a parked event due at once, with no attempt counted.

    Raises:
        ParkedEventNotFound: it is not parked.
        WaitsBehindAnother: an older event of its subject comes first.
        BeingHandled: the worker handles it just now.
        NoEvent: it cannot be read.
    """
    row = _take(session, event_id)
    _read(row)
    first = parked.firsts_of(session, {row.subject})[row.subject]
    if first != row.event_id:
        raise WaitsBehindAnother(
            f"It waits behind {first} of {row.subject}: replay or discard that one first.",
            first=str(first),
        )
    _replay(session, row, actor, why)
    return row


def replay_all(
    session: Session,
    actor: str,
    why: str | None,
    reason: str | None = None,
    type: str | None = None,
) -> int:
    """Make the first parked event of each subject due at once; return how many.

    `reason` and `type` select events that failed alike. Events behind them follow.
    """
    advisory_lock(session, "consumer")
    firsts = select(func.min(Parked.arrival)).group_by(Parked.subject)
    rows = session.scalars(
        matching(reason=reason, type=type)
        .where(Parked.state.in_(AT_REST), Parked.reason != UNREADABLE, Parked.arrival.in_(firsts))
        .order_by(Parked.arrival)
        .with_for_update()
    ).all()
    for row in rows:
        _replay(session, row, actor, why)
    return len(rows)


def edit(
    session: Session,
    event_id: UUID,
    actor: str,
    why: str,
    data: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Parked:
    """Replace a parked event's data, in this service only, and make it due in its place.

    `data` replaces everything; `changes` are values by path, such as `lines.0.quantity`. If older
    events of its subject are parked, it follows them. The inbox drops a copy of the published event
    that the broker delivers later.

    Raises:
        ParkedEventNotFound: it is not parked.
        BeingHandled: the worker handles it just now.
        NoEvent: it cannot be read.
        UnknownContract: this version does not know its type, so the data cannot be checked.
        EditRefused: the contract does not allow these data; nothing is changed.
    """
    row = _take(session, event_id)
    event, contract = _read(row), contract_of(row.type)
    if contract is None:
        raise UnknownContract(
            f"{row.type} is not known to this version; upgrade this service, and look again."
        )
    edited = _edited(event, contract, _changed(event, changes or {}) if data is None else data)
    if session.get(Inbox, row.event_id) is None:
        inbox.take(session, [event])
    seen = _without_personal(contract, event.data)
    after = _without_personal(contract, edited.data, before=event.data)
    _note(session, row, "edit", actor, why, before=seen, after=after)
    row.body = edited.body
    _let_try(row)
    if parked.firsts_of(session, {row.subject})[row.subject] != row.event_id:
        row.state, row.next_attempt_at = "behind", None
    return row


def discard(session: Session, event_id: UUID, actor: str, why: str) -> Parked:
    """Discard a parked event: it never takes effect, and the events behind it go on.

    The inbox drops a copy that the broker delivers later.

    Raises:
        ParkedEventNotFound: it is not parked.
        BeingHandled: the worker handles it just now.
    """
    row = _take(session, event_id)
    if session.get(Inbox, row.event_id) is None:
        inbox.take(session, [_known(row)])
    _note(session, row, "discard", actor, why)
    session.flush()
    session.expunge(row)  # the answer shows it as it was
    parked.leave(session, row)
    return row


def _take(session: Session, event_id: UUID) -> Parked:
    advisory_lock(session, "consumer")
    row = session.get(Parked, event_id, with_for_update=True)
    if row is None:
        raise _not_found(event_id)
    if row.state == "suspect":
        raise BeingHandled(
            "The worker is handling it, or died while it did and will try again: look again in a "
            "few seconds.",
            next_attempt_at=row.next_attempt_at,
        )
    return row


def _read(row: Parked) -> Envelope:
    try:
        if row.reason != UNREADABLE:
            return decode(row.body)
    except Unreadable:
        pass  # an older, less strict version parked it
    raise NoEvent("These bytes are no event of ours; look at them, then discard them.")


def _known(row: Parked) -> Envelope:
    """Return the event for the inbox, also if only an older version could read its bytes."""
    try:
        return decode(row.body)
    except Unreadable:
        stand_in = unreadable(row.body)
        return replace(stand_in, event_id=row.event_id, type=row.type, subject=row.subject)


def _replay(session: Session, row: Parked, actor: str, why: str | None) -> None:
    _note(session, row, "replay", actor, why)
    _let_try(row)


def _let_try(row: Parked) -> None:
    row.state, row.attempts, row.next_attempt_at = "waiting", 0, now()


def _changed(event: Envelope, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the data with the value at each path replaced or added."""
    changed: dict[str, Any] = json.loads(event.body)["data"]
    for path, value in changes.items():
        *above, last = path.split(".")
        place: Any = changed
        try:
            for step in above:
                place = place[int(step)] if isinstance(place, list) else place[step]
            if isinstance(place, list):
                place[int(last)] = value
            else:
                place[last] = value
        except (LookupError, TypeError, ValueError):
            raise _refused({path: ["There is no such place in the data."]}) from None
    return changed


def _edited(event: Envelope, contract: type[Fact], data: Mapping[str, Any]) -> Envelope:
    """Return the event with other data that its contract allows.

    Raises:
        EditRefused: a field is missing, wrong, new and unknown, or changes the subject.
    """
    try:
        edited = with_data(event, data)
        loaded = load_data(edited, contract).data
    except Unreadable as error:
        raise _refused({"data": [str(error)]}) from error
    except Invalid as error:
        raise _refused(_mistakes(contract, data) or {error.field: [error.why]}) from error
    if subject_of(loaded) != event.subject:
        raise _refused({contract.subject: [f"It must stay that of {event.subject}."]})
    # Unknown fields of a newer publisher may stay; a new unknown field is a typing error.
    unread = _names(edited.data) - _names(msgspec.to_builtins(loaded)) - _names(event.data)
    if unread:
        raise _refused({name: ["Unknown field."] for name in sorted(unread)})
    return edited


def _mistakes(contract: type[Fact], data: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return what is wrong with each field, since the contract itself stops at the first."""
    found: dict[str, list[str]] = {}
    for name in contract.__struct_fields__:
        try:
            check_field(contract, name, data)
        except Invalid as error:
            found[error.field] = [error.why]
    return found


def _refused(errors: Mapping[Any, Any]) -> EditRefused:
    return EditRefused(
        "The contract does not allow these data; `errors` lists the fields. Nothing was changed.",
        errors=dict(errors),
    )


def _names(value: Any, above: str = "", deepest: int = DEEPEST) -> set[str]:
    """Return the paths of all names in a JSON value; all members of a list share one path."""
    names: set[str] = set()
    if isinstance(value, Mapping) and deepest:
        for name, inner in value.items():
            names |= {above + name} | _names(inner, f"{above}{name}.", deepest - 1)
    elif isinstance(value, list) and deepest:
        for inner in value:
            names |= _names(inner, above, deepest - 1)
    return names


def _note(
    session: Session,
    row: Parked,
    action: str,
    actor: str,
    why: str | None,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    session.add(
        ParkedAction(
            id=new_id(),
            event_id=row.event_id,
            type=row.type,
            subject=row.subject,
            action=action,
            reason=row.reason,
            error=row.error,
            attempts=row.attempts,
            actor=actor,
            why=why,
            done_at=now(),
            before=before,
            after=after,
        )
    )
    log.info(f"parked event: {action}", event_type=row.type, subject=row.subject, actor=actor)


def _not_found(event_id: UUID) -> ParkedEventNotFound:
    return ParkedEventNotFound(f"Event {event_id} is not parked here; it may be settled by now.")


def _payload(row: Parked) -> Mapping[str, Any] | None:
    try:
        return _without_personal(contract_of(row.type), decode(row.body).data)
    except Unreadable:
        return None


def _without_personal(
    contract: type[Fact] | None,
    data: Mapping[str, Any],
    before: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return an event's data with the values hidden that may be personal.

    A hidden value that differs from `before` is marked as changed.
    """
    # Fields that the contract does not know may hold personal data.
    shown = contract.__struct_fields__ if contract is not None and contract.public else ()
    return dict(data) | {
        name: HIDDEN if before is None or _same(name, before, data) else HIDDEN_CHANGE
        for name in data.keys() - set(shown)
    }


def _same(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    return name in before and before[name] == after[name]
