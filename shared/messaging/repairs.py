"""What an operator does about parked events: look, let one be tried again, mend it, or give it up.

Each deed is noted with who, when and why, in the transaction that does it. Nothing is handled
here: what is to be tried again is due at once, and the worker's retry timer takes it, as if its
pause were over, so that order, inbox and the guard against killers are the same.
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
#: The reason of bytes that are no event: nothing can ever handle them.
UNREADABLE = "unreadable"
#: Groups that are listed; more errors than that are one fault with a number in its text.
MOST_GROUPS = 200
#: Objects inside objects, deeper than any contract has them.
DEEPEST = 16
#: What is shown in place of a value that may be personal.
HIDDEN, HIDDEN_CHANGE = "…", "… (changed)"


class ParkedEventNotFound(NotFound):
    """Raised when no such event is parked; it may have been handled meanwhile."""


class WaitsBehindAnother(Conflict):
    """Raised when an event is to be tried before an older one of its subject."""


class BeingHandled(Conflict):
    """Raised when the worker has the event in hand, or died with it and will try again."""


class NoEvent(Conflict):
    """Raised when what is parked cannot be read as an event, so that no retry can help."""


class UnknownContract(Conflict):
    """Raised when an event is to be edited whose contract this version does not know."""


class EditRefused(Unprocessable):
    """Raised when edited data are not what the contract allows; `errors` says which and why."""


@dataclass(frozen=True)
class Group:
    """Parked events that failed alike."""

    reason: str
    type: str
    error: str | None
    count: int
    oldest: datetime


@dataclass(frozen=True)
class Shown:
    """A parked event, and what is kept from view and from taking effect."""

    event: Parked
    payload: Mapping[str, Any] | None
    behind: int


def matching(
    reason: str | None = None,
    state: str | None = None,
    type: str | None = None,
    subject: str | None = None,
) -> Select[Parked]:
    """Return the selection of those parked events that have all the given values."""
    wanted = {"reason": reason, "state": state, "type": type, "subject": subject}
    given = {name: value for name, value in wanted.items() if value is not None}
    return select(Parked).filter_by(**given)


def groups(session: Session) -> list[Group]:
    """Return what is parked by error, the oldest first; what waits behind another is left out."""
    oldest = func.min(Parked.first_failed_at)
    rows = session.execute(
        select(Parked.reason, Parked.type, Parked.error, func.count(), oldest)
        .where(Parked.state != "behind")
        .group_by(Parked.reason, Parked.type, Parked.error)
        .order_by(oldest)
        .limit(MOST_GROUPS)
    )
    return [Group(*row) for row in rows]


def show(session: Session, event_id: UUID) -> Shown:
    """Return a parked event with its payload, personal data left out, and what waits behind it.

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
    return Shown(row, _payload(row), behind or 0)


def replay(session: Session, event_id: UUID, actor: str, why: str | None) -> Parked:
    """Let a parked event be tried again at once, with all its attempts before it.

    Raises:
        ParkedEventNotFound: it is not parked.
        WaitsBehindAnother: an older one of its subject must be settled first.
        BeingHandled: the worker has it in hand.
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
    """Let all that failed and are first of their subjects be tried again; return how many.

    `reason` and `type` restrict it to those that failed alike. What waits behind follows.
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
    """Give a parked event other data, here only, and let it be tried again in its place.

    `data` replaces all; `changes` are values by path, such as `lines.0.quantity`. If older ones of
    its subject are parked, it is tried after them. A copy of the event as it was published, which
    the broker may still bring, is known and dropped.

    Raises:
        ParkedEventNotFound: it is not parked.
        BeingHandled: the worker has it in hand.
        NoEvent: it cannot be read.
        UnknownContract: its type is not known here, so that nothing could be checked.
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
    """Give a parked event up for good: it never takes effect, and what waits behind it goes on.

    A copy that the broker may still bring is known and dropped.

    Raises:
        ParkedEventNotFound: it is not parked.
        BeingHandled: the worker has it in hand.
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
        pass  # a stricter version than the one that parked it
    raise NoEvent("These bytes are no event of ours; look at them, then discard them.")


def _known(row: Parked) -> Envelope:
    """Return the event by which a copy is known, also if only an older version could read it."""
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
    """Return a copy of the data with the value at each path replaced, or added to an object."""
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
    """Return the event with other data, as the contract allows them.

    Raises:
        EditRefused: a field is missing, wrong, unknown and new, or makes it another subject's.
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
    # What a newer publisher sent may stay; a new name that nobody reads is a slip.
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
        "The contract does not allow these data; `errors` says which and why. Nothing was changed.",
        errors=dict(errors),
    )


def _names(value: Any, above: str = "", deepest: int = DEEPEST) -> set[str]:
    """Return the paths of all names inside a JSON value; members of a list count as one."""
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
    """Return an event's data; only the names of its fields when it may hold personal data.

    What is hidden and differs from `before` is marked.
    """
    # A field that the contract does not know may hold anything.
    shown = contract.__struct_fields__ if contract is not None and contract.public else ()
    return dict(data) | {
        name: HIDDEN if before is None or _same(name, before, data) else HIDDEN_CHANGE
        for name in data.keys() - set(shown)
    }


def _same(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    return name in before and before[name] == after[name]
