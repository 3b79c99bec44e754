"""Partners' feeds."""

import sqlalchemy as sa
from alembic import op

from shared.runtime.tables import UtcDateTime

revision = "notifications_0002"
down_revision = "notifications_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables, and let copies of orders name their partner."""
    op.add_column("order_copies", sa.Column("partner", sa.Text(), nullable=True))
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("partner", sa.String(length=255), nullable=False),
        sa.Column("types", sa.JSON(), nullable=False),
        sa.Column("grants", sa.JSON(), nullable=False),
        sa.Column("is_wide", sa.Boolean(), nullable=False),
        sa.Column("last_position", sa.BigInteger(), nullable=False),
        sa.Column("pruned_position", sa.BigInteger(), nullable=False),
        sa.Column("epochs", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscriptions")),
        sa.UniqueConstraint("partner", name=op.f("uq_subscriptions_partner")),
    )
    op.create_index(
        "ix_subscriptions_is_wide",
        "subscriptions",
        ["is_wide"],
        sqlite_where=sa.text("is_wide"),
        postgresql_where=sa.text("is_wide"),
    )
    op.create_table(
        "feed_entries",
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("entered_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["subscriptions.id"],
            name=op.f("fk_feed_entries_subscription_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("subscription_id", "position", name=op.f("pk_feed_entries")),
    )
    op.create_table(
        "early_facts",
        sa.Column(
            "arrival",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("arrived_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("arrival", name=op.f("pk_early_facts")),
    )
    op.create_index(op.f("ix_early_facts_arrived_at"), "early_facts", ["arrived_at"])
    op.create_index(op.f("ix_early_facts_order_id"), "early_facts", ["order_id"])
    op.create_table(
        "partner_actions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("partner", sa.String(length=255), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("done_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_partner_actions")),
    )
    op.create_index(op.f("ix_partner_actions_partner"), "partner_actions", ["partner"])
