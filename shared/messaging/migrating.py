"""Steps that the migrations of all four services share: the messaging tables are the same in each.

A step never changes once a service's migration calls it: what comes later is a new step.
"""

import sqlalchemy as sa
from alembic import op

from shared.runtime.tables import UtcDateTime


def add_parked_actions() -> None:
    """Add the table of what operators did about parked events."""
    op.create_table(
        "parked_actions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("action", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("done_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "action IN ('replay', 'discard')", name=op.f("ck_parked_actions_action")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_parked_actions")),
    )
    op.create_index(op.f("ix_parked_actions_event_id"), "parked_actions", ["event_id"])


def drop_parked_actions() -> None:
    """Drop the table, and with it what was noted."""
    op.drop_table("parked_actions")


def add_parked_edits() -> None:
    """Let what operators did be an edit, too, with the data before and after it."""
    with op.batch_alter_table("parked_actions") as table:
        table.add_column(sa.Column("before", sa.JSON(), nullable=True))
        table.add_column(sa.Column("after", sa.JSON(), nullable=True))
        table.drop_constraint(op.f("ck_parked_actions_action"), type_="check")
        table.create_check_constraint(
            op.f("ck_parked_actions_action"), "action IN ('replay', 'discard', 'edit')"
        )


def drop_parked_edits() -> None:
    """Forget the edits, which the table has no place for then, and their data."""
    op.execute("DELETE FROM parked_actions WHERE action = 'edit'")
    with op.batch_alter_table("parked_actions") as table:
        table.drop_column("after")
        table.drop_column("before")
        table.drop_constraint(op.f("ck_parked_actions_action"), type_="check")
        table.create_check_constraint(
            op.f("ck_parked_actions_action"), "action IN ('replay', 'discard')"
        )
