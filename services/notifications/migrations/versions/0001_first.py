"""Notifications' first tables."""

import sqlalchemy as sa
from alembic import op

from shared.messaging.migrating import create_shared_tables
from shared.runtime.tables import UtcDateTime

revision = "notifications_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    create_shared_tables()
    op.create_table(
        "contacts",
        sa.Column("key", sa.String(length=60), nullable=False),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("language", sa.String(length=2), nullable=False),
        sa.Column("given_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_contacts")),
    )
    op.create_index(op.f("ix_contacts_given_at"), "contacts", ["given_at"])
    op.create_table(
        "messages",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("cause_id", sa.Uuid(), nullable=False),
        sa.Column("recipient", sa.String(length=60), nullable=False),
        sa.Column("template", sa.String(length=40), nullable=False),
        sa.Column("person", sa.Text(), nullable=True),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=True),
        sa.Column("happened_at", UtcDateTime(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=True),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("taken_by", sa.JSON(), nullable=False),
        sa.Column("sent_at", UtcDateTime(), nullable=True),
        sa.Column("read_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint(
            "status IN ('queued', 'sending', 'retrying', 'sent', 'delivered', "
            "'suppressed', 'stale', 'dead')",
            name=op.f("ck_messages_status"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
        sa.UniqueConstraint("cause_id", "recipient", "template", name="uq_messages_cause"),
        postgresql_with={"autovacuum_vacuum_scale_factor": "0.02"},
    )
    op.create_index(
        "ix_messages_due_at",
        "messages",
        ["due_at"],
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index(op.f("ix_messages_order_id"), "messages", ["order_id"])
    op.create_index("ix_messages_person", "messages", ["person", "id"])
    op.create_index(
        "ix_messages_status",
        "messages",
        ["status", "id"],
        sqlite_where=sa.text("status <> 'sent'"),
        postgresql_where=sa.text("status <> 'sent'"),
    )
    op.create_table(
        "order_copies",
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("person", sa.Text(), nullable=True),
        sa.Column("order_ref", sa.Text(), nullable=True),
        sa.Column("site_id", sa.Uuid(), nullable=True),
        sa.Column("collect", sa.Boolean(), nullable=True),
        sa.Column("total_fen", sa.BigInteger(), nullable=True),
        sa.Column("due_fen", sa.BigInteger(), nullable=True),
        sa.Column("lines", sa.JSON(), nullable=True),
        sa.Column("sales", sa.JSON(), nullable=True),
        sa.Column("settled", sa.Boolean(), nullable=False),
        sa.Column("contact_unused_since", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_order_copies")),
    )
    op.create_index(
        op.f("ix_order_copies_contact_unused_since"), "order_copies", ["contact_unused_since"]
    )
    op.create_table(
        "phone_tallies",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_phone_tallies")),
    )
    op.create_table(
        "preferences",
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("language", sa.String(length=2), nullable=True),
        sa.Column("quiet_from", sa.BigInteger(), nullable=False),
        sa.Column("quiet_to", sa.BigInteger(), nullable=False),
        sa.Column("channels", sa.JSON(), nullable=False),
        sa.Column("daily_cap", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("person", name=op.f("pk_preferences")),
    )
    op.create_table(
        "site_copies",
        sa.Column("site_id", sa.Uuid(), nullable=False),
        sa.Column("names", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("site_id", name=op.f("pk_site_copies")),
    )
    op.create_table(
        "variant_copies",
        sa.Column("variant_id", sa.Uuid(), nullable=False),
        sa.Column("names", sa.JSON(), nullable=False),
        sa.Column("grade", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("variant_id", name=op.f("pk_variant_copies")),
    )
    op.create_table(
        "verified_phones",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("verified_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_verified_phones")),
    )
    op.create_index(op.f("ix_verified_phones_verified_at"), "verified_phones", ["verified_at"])
    op.create_table(
        "attempts",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("results", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_attempts_message_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("message_id", "number", name=op.f("pk_attempts")),
    )
