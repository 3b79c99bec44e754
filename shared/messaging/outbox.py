"""Record a fact in the transaction that makes it true; the relay publishes it afterwards."""

from typing import Any, Protocol

from sqlalchemy import Table, event, insert
from sqlalchemy.orm import Session

from shared.events import Fact
from shared.messaging.envelope import encode, fact_of, subject_of
from shared.messaging.tables import Outbox
from shared.runtime import tracing
from shared.runtime.clock import now
from shared.runtime.ids import new_id


class Versioned(Protocol):
    """An aggregate whose events are numbered: `version` counts the events recorded of it."""

    version: Any


def record(session: Session, contract: type[Fact], aggregate: Versioned, **facts: Any) -> None:
    """Record one fact about `aggregate`, to be published if and only if the transaction commits.

    The aggregate's row must be new or locked (`shared.runtime.rows.locked`), so that its events
    are numbered in the order of their commits. `facts` are the contract's fields.

    Raises:
        ValueError: a field is missing or unknown, or the event would be too large.
    """
    unknown = facts.keys() - set(contract.__struct_fields__)
    if unknown:
        raise ValueError(f"{contract.__name__}: unknown {sorted(unknown)}")
    fact = fact_of(contract, facts)
    aggregate.version = (aggregate.version or 0) + 1
    cause, time, event_id = tracing.present(), now(), new_id()
    body = encode(
        fact,
        event_id=event_id,
        sequence=aggregate.version,
        time=time,
        correlation_id=cause.correlation_id,
        causation_id=cause.causation_id,
        traceparent=cause.traceparent,
    )
    session.info.setdefault("outbox", []).append(
        {
            "event_id": event_id,
            "type": contract.routing_key,
            "subject": subject_of(fact),
            "sequence": aggregate.version,
            "body": body,
            "correlation_id": cause.correlation_id,
            "traceparent": cause.traceparent,
            "recorded_at": time,
        }
    )


# Of every session: whoever records has imported this, and others have nothing to write.
@event.listens_for(Session, "before_commit")
def write(session: Session) -> None:
    """Insert what was recorded, in one statement, just before the commit.

    Late, so that every lock of the transaction is held when the rows draw their ids: ids of
    one subject then agree with its sequence.
    """
    rows = session.info.pop("outbox", None)
    if rows:
        session.flush()
        table = Outbox.__table__
        assert isinstance(table, Table)
        session.execute(insert(table), rows)
        session.info["recorded"] = True
