"""What waits too long and was told of is kept; every service has the table."""

from shared.migrating import add_stalled_cases, drop_stalled_cases

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    add_stalled_cases()


def downgrade() -> None:
    """Drop the table; what still waits would be told again."""
    drop_stalled_cases()
