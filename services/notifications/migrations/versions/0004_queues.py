"""Integrators' queues are fed from feeds."""

import sqlalchemy as sa
from alembic import op

from shared.runtime.tables import UtcDateTime

revision = "notifications_0004"
down_revision = "notifications_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of queues."""
    op.create_table(
        "queue_feeds",
        sa.Column("queue", sa.String(length=80), nullable=False),
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("taken_position", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.String(length=10), nullable=False),
        sa.Column("max_bytes", sa.BigInteger(), nullable=False),
        sa.Column("waiting", sa.BigInteger(), nullable=False),
        sa.Column("waiting_bytes", sa.BigInteger(), nullable=False),
        sa.Column("consumers", sa.BigInteger(), nullable=False),
        sa.Column("looked_at", UtcDateTime(), nullable=True),
        sa.Column("moved_at", UtcDateTime(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["subscriptions.id"],
            name=op.f("fk_queue_feeds_subscription_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("queue", name=op.f("pk_queue_feeds")),
    )
    op.create_index(op.f("ix_queue_feeds_subscription_id"), "queue_feeds", ["subscription_id"])
