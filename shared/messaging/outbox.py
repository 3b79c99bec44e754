"""Record a fact, by the session: for services that do not pass a batch yet."""

from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session

from shared.events import Fact
from shared.messaging.batch import Versioned, batch_of
from shared.messaging.envelope import fact_of


def record(session: Session, contract: type[Fact], aggregate: Versioned, **facts: Any) -> None:
    """See `Batch.record`; `facts` are the contract's fields.

    Raises:
        ValueError: a field is missing or unknown, or the event would be too large.
    """
    unknown = facts.keys() - set(contract.__struct_fields__)
    if unknown:
        raise ValueError(f"{contract.__name__}: unknown {sorted(unknown)}")
    batch_of(session).record(aggregate, fact_of(contract, facts))


@event.listens_for(Session, "before_commit")
def write(session: Session) -> None:
    """Insert what was recorded just before the commit."""
    batch = session.info.get("batch")
    if batch is not None and batch.write():
        session.info["recorded"] = True
