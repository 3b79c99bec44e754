"""Lots that are held or recalled stop the shipments that carry them."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table, and the index that finds a lot's shipments."""
    op.create_table(
        "stopped_lots",
        sa.Column("lot_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.CheckConstraint(
            "status IN ('held', 'recalled', 'released')", name=op.f("ck_stopped_lots_status")
        ),
        sa.PrimaryKeyConstraint("lot_id", name=op.f("pk_stopped_lots")),
    )
    op.create_index(op.f("ix_shipment_lines_lot_id"), "shipment_lines", ["lot_id"], unique=False)


def downgrade() -> None:
    """Drop both; what is stopped goes on."""
    op.drop_index(op.f("ix_shipment_lines_lot_id"), table_name="shipment_lines")
    op.drop_table("stopped_lots")
