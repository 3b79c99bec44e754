"""What operators do about parked events is kept; every service has the table."""

from shared.messaging.migrating import add_parked_actions, drop_parked_actions

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    add_parked_actions()


def downgrade() -> None:
    """Drop the table, and with it what was noted."""
    drop_parked_actions()
