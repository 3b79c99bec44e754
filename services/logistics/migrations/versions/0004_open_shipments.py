"""The shipments under way are found at once."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

OPEN = sa.text("ended_at IS NULL")


def upgrade() -> None:
    """Add the index."""
    op.create_index(
        "ix_shipments_open",
        "shipments",
        ["planned_at"],
        sqlite_where=OPEN,
        postgresql_where=OPEN,
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_shipments_open", table_name="shipments")
