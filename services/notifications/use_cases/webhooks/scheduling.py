"""Which deliveries of an endpoint may be sent: at most one of each subject, the oldest.

Each function is one statement for many endpoints. The caller has locked their rows.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, select, text, tuple_, update
from sqlalchemy.orm import Session

from services.notifications.models import Delivery
from services.notifications.models.webhooks import UNFINISHED
from shared.messaging.batch import table_of
from shared.runtime.bulk import among, update_rows

#: What every statement about unfinished deliveries of the feed needs; a ping has no position.
OPEN = (text(UNFINISHED), Delivery.position.is_not(None))


def promote(
    session: Session,
    endpoint_ids: Collection[UUID],
    moment: datetime,
    subjects: Collection[str] | None = None,
) -> None:
    """Make the first unfinished delivery of each subject due if none of the subject is scheduled.

    `subjects` limits the work to these; None: all subjects of the endpoints.
    """
    if not endpoint_ids or (subjects is not None and not subjects):
        return
    limits = [] if subjects is None else [among(Delivery.subject, subjects)]
    _update(session, _heads(endpoint_ids, *limits).having(_scheduled() == 0), moment)


def hold(session: Session, endpoint_ids: Collection[UUID]) -> None:
    """Take all deliveries of the feed off the schedule."""
    if endpoint_ids:
        session.execute(
            update(Delivery)
            .where(
                among(Delivery.endpoint_id, endpoint_ids),
                Delivery.next_try_at.is_not(None),
                *OPEN,
            )
            .values(next_try_at=None),
            execution_options={"synchronize_session": False},
        )


def probe(session: Session, until: dict[UUID, datetime]) -> None:
    """Schedule one delivery of each endpoint for the end of its pause: the least tried one.

    An event that the server cannot handle is then not the only one that is tried.
    """
    if not until:
        return
    place = func.row_number().over(
        partition_by=Delivery.endpoint_id, order_by=(Delivery.attempts, Delivery.position)
    )
    heads = (
        select(Delivery.id, Delivery.endpoint_id, place.label("place"))
        .where(*OPEN, tuple_(Delivery.endpoint_id, Delivery.position).in_(_heads(until)))
        .subquery()
    )
    chosen = session.execute(select(heads.c.id, heads.c.endpoint_id).where(heads.c.place == 1))
    rows = [{"id": id_, "next_try_at": until[endpoint_id]} for id_, endpoint_id in chosen]
    update_rows(session.connection(), table_of(Delivery), rows)


def _heads(
    endpoint_ids: Collection[UUID], *limits: ColumnElement[bool]
) -> Select[*tuple[Any, ...]]:
    """Return the query of the first unfinished delivery of each subject."""
    return (
        select(Delivery.endpoint_id, func.min(Delivery.position))
        .where(among(Delivery.endpoint_id, endpoint_ids), *OPEN, *limits)
        .group_by(Delivery.endpoint_id, Delivery.subject)
    )


def _scheduled() -> ColumnElement[int]:
    return func.count(Delivery.next_try_at)


def _update(session: Session, chosen: Select[*tuple[Any, ...]], moment: datetime) -> None:
    session.execute(
        update(Delivery)
        .where(*OPEN, tuple_(Delivery.endpoint_id, Delivery.position).in_(chosen))
        .values(next_try_at=moment),
        execution_options={"synchronize_session": False},
    )
