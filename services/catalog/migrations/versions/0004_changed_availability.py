"""Availability is found by its last change."""

from alembic import op

revision = "catalog_0004"
down_revision = "catalog_0003"


def upgrade() -> None:
    """Add the index."""
    op.create_index(
        "ix_availability_changed_at", "availability", ["changed_at", "variant_id"], unique=False
    )
