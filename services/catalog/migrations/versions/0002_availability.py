"""Availability: how much of each variant an order could reserve, as last published."""

import sqlalchemy as sa
from alembic import op

from shared.runtime.tables import UtcDateTime

revision = "catalog_0002"
down_revision = "catalog_0001"


def upgrade() -> None:
    """Add the table; catalog's worker fills it within a second."""
    op.create_table(
        "availability",
        sa.Column("variant_id", sa.Uuid(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("capped", sa.Boolean(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("quantity >= 0", name=op.f("ck_availability_quantity")),
        sa.ForeignKeyConstraint(
            ["variant_id"], ["variants.id"], name=op.f("fk_availability_variant_id")
        ),
        sa.PrimaryKeyConstraint("variant_id", name=op.f("pk_availability")),
    )
