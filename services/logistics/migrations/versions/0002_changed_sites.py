"""Sites are found by their last change."""

import sqlalchemy as sa
from alembic import op

from shared.runtime import clock
from shared.runtime.tables import UtcDateTime

revision = "logistics_0002"
down_revision = "logistics_0001"


def upgrade() -> None:
    """Add the moment of the last change; of present sites nobody knows it, so it is now."""
    op.add_column("sites", sa.Column("changed_at", UtcDateTime(), nullable=True))
    changed_at = sa.column("changed_at", UtcDateTime())
    op.execute(sa.update(sa.table("sites", changed_at)).values(changed_at=clock.now()))
    op.create_index("ix_sites_changed_at", "sites", ["changed_at", "id"], unique=False)
