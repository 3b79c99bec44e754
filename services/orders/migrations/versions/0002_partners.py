"""Orders know the partner that placed them, its own number, and are found by their last change."""

import sqlalchemy as sa
from alembic import op

revision = "orders_0002"
down_revision = "orders_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and their indexes; orders placed before have no partner."""
    op.add_column("orders", sa.Column("partner", sa.String(length=64), nullable=True))
    op.add_column("orders", sa.Column("external_ref", sa.String(length=64), nullable=True))
    op.add_column("orders", sa.Column("request_digest", sa.LargeBinary(length=32), nullable=True))
    op.create_index(
        "uq_orders_external_ref",
        "orders",
        ["external_ref", "partner"],
        unique=True,
        postgresql_ops={"external_ref": "text_pattern_ops"},
        postgresql_where=sa.text("external_ref IS NOT NULL"),
        sqlite_where=sa.text("external_ref IS NOT NULL"),
    )
    op.create_index("ix_orders_changed_at", "orders", ["changed_at", "id"], unique=False)
