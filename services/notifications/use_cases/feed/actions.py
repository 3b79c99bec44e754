"""The record of what was done to partners' access."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.notifications.batch import NotificationsBatch
from services.notifications.models import PartnerAction
from shared.runtime import clock
from shared.runtime.ids import new_id
from shared.runtime.paging import Page, filtered, page


def record_action(
    batch: NotificationsBatch, partner: str, actor: str, action: str, details: Mapping[str, Any]
) -> None:
    """Record who did what; `details` must not hold a secret."""
    batch.append(
        PartnerAction,
        id=new_id(),
        partner=partner,
        actor=actor,
        action=action,
        details=dict(details),
        done_at=clock.now(),
    )


def list_actions(
    session: Session, *, limit: int, cursor: str | None = None, partner: str | None = None
) -> Page[PartnerAction]:
    """Return actions, newest first; of one partner or of all."""
    chosen = filtered(select(PartnerAction), {PartnerAction.partner: partner})
    return page(session, chosen, PartnerAction.id, limit=limit, cursor=cursor, descending=True)
