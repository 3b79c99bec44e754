"""Products are found by their last change."""

import sqlalchemy as sa
from alembic import op

from shared.runtime import clock
from shared.runtime.tables import UtcDateTime

revision = "catalog_0003"
down_revision = "catalog_0002"


def upgrade() -> None:
    """Add the moment of the last change; of present products nobody knows it, so it is now."""
    op.add_column("products", sa.Column("changed_at", UtcDateTime(), nullable=True))
    changed_at = sa.column("changed_at", UtcDateTime())
    op.execute(sa.update(sa.table("products", changed_at)).values(changed_at=clock.now()))
    op.create_index("ix_products_changed_at", "products", ["changed_at", "id"], unique=False)
