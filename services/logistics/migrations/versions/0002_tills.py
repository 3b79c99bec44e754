"""Keys of tills, and what they say of parcels."""

import sqlalchemy as sa
from alembic import op

from shared.runtime.tables import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the keys, the ids that only tills know, and which entry a proof came from."""
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("claims", sa.JSON(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
    )
    op.create_index(op.f("ix_api_keys_subject"), "api_keys", ["subject"], unique=False)
    op.create_table(
        "unplanned_parcels",
        sa.Column("shipment_id", sa.Uuid(), nullable=False),
        sa.Column("first_told_at", UtcDateTime(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("shipment_id", name=op.f("pk_unplanned_parcels")),
    )
    op.add_column("proofs_of_delivery", sa.Column("entry_id", sa.Uuid(), nullable=True))


def downgrade() -> None:
    """Drop them, and with them every key."""
    op.drop_column("proofs_of_delivery", "entry_id")
    op.drop_table("unplanned_parcels")
    op.drop_table("api_keys")
