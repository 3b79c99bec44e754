"""Operators may edit a parked event, which is kept with its data; every service has the table."""

from shared.messaging.migrating import add_parked_edits, drop_parked_edits

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the word for it."""
    add_parked_edits()


def downgrade() -> None:
    """Take both back, and with them the edits that were noted."""
    drop_parked_edits()
