"""Orders that ask for their stock once more are watched, although they have a shipment."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

UNPLANNED = sa.text("(state = 'placed' OR (state = 'confirmed' AND shipment_id IS NULL))")
BEFORE = sa.text("shipment_id IS NULL AND state IN ('placed', 'confirmed')")


def upgrade() -> None:
    """Let the index hold every order without catalog's answer."""
    _make(UNPLANNED)


def downgrade() -> None:
    """Let it hold those only that have no shipment."""
    _make(BEFORE)


def _make(rows: sa.TextClause) -> None:
    op.drop_index("ix_orders_unplanned", table_name="orders")
    op.create_index(
        "ix_orders_unplanned",
        "orders",
        ["state", "changed_at"],
        sqlite_where=rows,
        postgresql_where=rows,
    )
