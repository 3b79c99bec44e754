"""Phones whose owners showed a code that was sent to them get more messages than others."""

import sqlalchemy as sa
from alembic import op

from shared.runtime.tables import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "verified_phones",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("verified_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_verified_phones")),
    )
    op.create_index(op.f("ix_verified_phones_verified_at"), "verified_phones", ["verified_at"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("verified_phones")
