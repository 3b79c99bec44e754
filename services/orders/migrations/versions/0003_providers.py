"""Payments name their provider; what providers did about refunds and chargebacks."""

import sqlalchemy as sa
from alembic import op

from shared.runtime.tables import UtcDateTime

revision = "orders_0003"
down_revision = "orders_0002"
branch_labels = None
depends_on = None

STATES = ("due", "accepted", "done", "refused", "not_called")


def upgrade() -> None:
    """Add the columns and the tables."""
    op.add_column(
        "payments",
        sa.Column("provider", sa.String(length=20), nullable=False, server_default="standard"),
    )
    op.add_column("payments", sa.Column("of_payment_id", sa.Uuid(), nullable=True))
    again = sa.text("of_payment_id IS NOT NULL")
    op.create_index(
        "ix_payments_of_payment_id",
        "payments",
        ["of_payment_id"],
        sqlite_where=again,
        postgresql_where=again,
    )
    op.create_table(
        "provider_refunds",
        sa.Column("refund_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=True),
        sa.Column("attempts", sa.SmallInteger(), nullable=False),
        sa.Column("key_round", sa.SmallInteger(), nullable=False),
        sa.Column("provider_ref", sa.String(length=100), nullable=True),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("settled_by", sa.String(length=255), nullable=True),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(f"state IN {STATES}", name=op.f("ck_provider_refunds_state")),
        sa.ForeignKeyConstraint(
            ["refund_id"], ["refunds.id"], name=op.f("fk_provider_refunds_refund_id")
        ),
        sa.PrimaryKeyConstraint("refund_id", name=op.f("pk_provider_refunds")),
        sa.UniqueConstraint("provider_ref", name=op.f("uq_provider_refunds_provider_ref")),
    )
    for name, column, where in (
        ("due_at", "due_at", sa.text("due_at IS NOT NULL")),
        ("refused", "changed_at", sa.text("state = 'refused'")),
    ):
        op.create_index(
            f"ix_provider_refunds_{name}",
            "provider_refunds",
            [column],
            sqlite_where=where,
            postgresql_where=where,
        )
    op.create_table(
        "disputes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("dispute_ref", sa.String(length=100), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("booked_fen", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "0 <= booked_fen AND booked_fen <= amount_fen", name=op.f("ck_disputes_booked")
        ),
        sa.CheckConstraint("state IN ('open', 'won', 'lost')", name=op.f("ck_disputes_state")),
        sa.ForeignKeyConstraint(
            ["payment_id"], ["payments.id"], name=op.f("fk_disputes_payment_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_disputes")),
        sa.UniqueConstraint("dispute_ref", name=op.f("uq_disputes_dispute_ref")),
    )
    op.create_index(op.f("ix_disputes_payment_id"), "disputes", ["payment_id"])
