"""How much each site sells of each variant, day by day: what standing rules go by."""

from datetime import date
from uuid import UUID

from sqlalchemy import Table, delete, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from services.catalog.models import DailySales
from shared.runtime import clock

_Key = tuple[UUID, UUID, date]


def note_sold(session: Session, site_id: UUID, variant_id: UUID, quantity: int) -> None:
    """Add to what a site sold of a variant today; less than 0 when goods came back.

    Today is the day on which we heard of it: a device's clock proves nothing. It is written by
    the next flush; the caller changes an object of the session too.
    """
    noted: dict[_Key, int] = session.info.setdefault("daily sales", {})
    key = (site_id, variant_id, clock.today())
    noted[key] = noted.get(key, 0) + quantity


def forget_days(session: Session, before: date) -> None:
    """Forget what was sold before a day."""
    statement = delete(DailySales).where(DailySales.day < before)
    session.execute(statement, execution_options={"synchronize_session": False})


def write_noted(session: Session, *_: object) -> None:
    """Add what was noted so far to the days' sums, in one statement."""
    noted: dict[_Key, int] = session.info.pop("daily sales", {})
    if not noted:
        return
    table = DailySales.__table__
    assert isinstance(table, Table)
    connection = session.connection()
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(table)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=list(table.primary_key.columns),
            set_={"quantity": table.c.quantity + statement.excluded.quantity},
        ),
        [
            {"site_id": site_id, "variant_id": variant_id, "day": day, "quantity": quantity}
            for (site_id, variant_id, day), quantity in sorted(noted.items(), key=str)
        ],
    )


event.listen(Session, "after_flush", write_noted)
