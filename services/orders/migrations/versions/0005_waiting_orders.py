"""The orders that may wait are found at once."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

UNPLANNED = sa.text("shipment_id IS NULL AND state IN ('placed', 'confirmed')")
UNSTOPPED = sa.text("state = 'cancelled' AND fulfilment_state IN ('planned', 'packed')")


def upgrade() -> None:
    """Add the indexes."""
    op.create_index(
        "ix_orders_unplanned",
        "orders",
        ["state", "changed_at"],
        sqlite_where=UNPLANNED,
        postgresql_where=UNPLANNED,
    )
    op.create_index(
        "ix_orders_unstopped",
        "orders",
        ["state", "changed_at"],
        sqlite_where=UNSTOPPED,
        postgresql_where=UNSTOPPED,
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_orders_unstopped", table_name="orders")
    op.drop_index("ix_orders_unplanned", table_name="orders")
