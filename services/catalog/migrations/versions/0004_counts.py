"""Who counted what was allotted to a device, and what was missing."""

import sqlalchemy as sa
from alembic import op

from shared.runtime.tables import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "allotment_counts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("allotment_id", sa.Uuid(), nullable=False),
        sa.Column("counted", sa.BigInteger(), nullable=False),
        sa.Column("missing", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "counted >= 0 AND missing >= 0", name=op.f("ck_allotment_counts_quantities")
        ),
        sa.ForeignKeyConstraint(
            ["allotment_id"], ["allotments.id"], name=op.f("fk_allotment_counts_allotment_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_allotment_counts")),
    )
    op.create_index(op.f("ix_allotment_counts_allotment_id"), "allotment_counts", ["allotment_id"])


def downgrade() -> None:
    """Drop the table, and with it who counted."""
    op.drop_table("allotment_counts")
