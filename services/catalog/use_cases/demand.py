"""How fast sites sell a variant: what standing rules and proposals of return go by."""

from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.catalog.models import Allotment, DailySales
from services.catalog.rules import SALES_DAYS, Rate, rate_of
from shared import clock


def rates(session: Session, variant_id: UUID, site_ids: Iterable[UUID]) -> dict[UUID, Rate | None]:
    """Return what each of these sites sells of a variant; None: there is no history yet."""
    wanted, today = set(site_ids), clock.today()
    sold = dict(
        session.execute(
            select(DailySales.site_id, func.sum(DailySales.quantity))
            .where(
                DailySales.variant_id == variant_id,
                DailySales.site_id.in_(wanted),
                DailySales.day > today - timedelta(days=SALES_DAYS),
            )
            .group_by(DailySales.site_id)
        )
        .tuples()
        .all()
    )
    first = dict(
        session.execute(
            select(Allotment.site_id, func.min(Allotment.granted_at))
            .where(Allotment.variant_id == variant_id, Allotment.site_id.in_(wanted))
            .group_by(Allotment.site_id)
        )
        .tuples()
        .all()
    )
    return {
        site_id: rate_of(
            int(sold.get(site_id, 0)),
            first[site_id].astimezone(clock.LOCAL).date() if site_id in first else None,
            today,
        )
        for site_id in wanted
    }
