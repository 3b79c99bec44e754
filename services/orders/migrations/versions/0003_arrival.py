"""Orders are listed as they came: those taken at tills have ids that are not by time."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

#: Columns by which lists are filtered.
FILTERS = ("state", "channel", "buyer_id", "placed_by")
#: For the rows that are there, until the next statement; SQLite adds no column without.
NOBODY = sa.text("'00000000000000000000000000000000'")


def upgrade() -> None:
    """Add the column, by time for all that are there: so far, ids were."""
    op.add_column("orders", sa.Column("arrival", sa.Uuid(), nullable=False, server_default=NOBODY))
    op.execute("UPDATE orders SET arrival = id")
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("orders", "arrival", server_default=None)
    op.create_index("ix_orders_arrival", "orders", ["arrival"], unique=True)
    for column in FILTERS:
        op.drop_index(f"ix_orders_{column}_id", table_name="orders")
        op.create_index(f"ix_orders_{column}_arrival", "orders", [column, "arrival"])


def downgrade() -> None:
    """List orders by id again."""
    for column in FILTERS:
        op.drop_index(f"ix_orders_{column}_arrival", table_name="orders")
        op.create_index(f"ix_orders_{column}_id", "orders", [column, "id"])
    op.drop_index("ix_orders_arrival", table_name="orders")
    op.drop_column("orders", "arrival")
