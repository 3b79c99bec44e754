"""Orders beyond the limits wait for approval; open ones are found by phone, buyer and caller."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

OPEN = sa.text("phone_digest IS NOT NULL")
COUNTED_BY = ("phone_digest", "buyer_id", "placed_by")


def upgrade() -> None:
    """Add the columns and the indexes.

    Orders that are open already have no digest: they count for nobody.
    """
    op.add_column("orders", sa.Column("phone_digest", sa.LargeBinary(length=32)))
    op.add_column("orders", sa.Column("approval_reason", sa.String(length=40)))
    op.add_column("orders", sa.Column("approved_by", sa.String(length=255)))
    for name in COUNTED_BY:
        op.create_index(
            f"ix_orders_open_{name}", "orders", [name], sqlite_where=OPEN, postgresql_where=OPEN
        )


def downgrade() -> None:
    """Drop them."""
    for name in COUNTED_BY:
        op.drop_index(f"ix_orders_open_{name}", table_name="orders")
    for name in ("approved_by", "approval_reason", "phone_digest"):
        op.drop_column("orders", name)
