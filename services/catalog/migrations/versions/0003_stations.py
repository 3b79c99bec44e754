"""Stations: devices, allotments, what was sold over the counter, and keys of machines."""

import sqlalchemy as sa
from alembic import op

from shared.runtime.tables import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables, and name allotment and sale in the ledger."""
    op.create_table(
        "daily_sales",
        sa.Column("site_id", sa.Uuid(), nullable=False),
        sa.Column("variant_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("site_id", "variant_id", "day", name=op.f("pk_daily_sales")),
    )
    op.create_table(
        "overdrafts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sale_id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("site_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("lines", sa.JSON(), nullable=False),
        sa.Column("opened_at", UtcDateTime(), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.Column("settled_by", sa.Text(), nullable=True),
        sa.Column("settled_reason", sa.Text(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "status IN ('open', 'covered', 'lost', 'voided')", name=op.f("ck_overdrafts_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_overdrafts")),
        sa.UniqueConstraint("sale_id", name=op.f("uq_overdrafts_sale_id")),
    )
    op.create_index(op.f("ix_overdrafts_device_id"), "overdrafts", ["device_id"], unique=False)
    op.create_index(
        "ix_overdrafts_open",
        "overdrafts",
        ["id"],
        unique=False,
        sqlite_where=sa.text("status = 'open'"),
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_table(
        "station_sales",
        sa.Column("sale_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("site_id", sa.Uuid(), nullable=False),
        sa.Column("of_sale_id", sa.Uuid(), nullable=True),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("lines", sa.JSON(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('sale', 'void', 'return')", name=op.f("ck_station_sales_kind")
        ),
        sa.CheckConstraint(
            "status IN ('booked', 'overdrawn', 'disputed', 'reduced')",
            name=op.f("ck_station_sales_status"),
        ),
        sa.PrimaryKeyConstraint("sale_id", name=op.f("pk_station_sales")),
    )
    op.create_index(
        "ix_station_sales_of_sale_id",
        "station_sales",
        ["of_sale_id"],
        unique=False,
        sqlite_where=sa.text("of_sale_id IS NOT NULL"),
        postgresql_where=sa.text("of_sale_id IS NOT NULL"),
    )
    op.create_table(
        "devices",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("site_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("revoked_by", sa.Text(), nullable=True),
        sa.Column("revoked_reason", sa.Text(), nullable=True),
        sa.Column("revoked_at", UtcDateTime(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "status IN ('new', 'active', 'revoked')", name=op.f("ck_devices_status")
        ),
        sa.CheckConstraint("epoch >= 0", name=op.f("ck_devices_epoch")),
        sa.ForeignKeyConstraint(["site_id"], ["locations.id"], name=op.f("fk_devices_site_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_devices")),
        sa.UniqueConstraint("code", name=op.f("uq_devices_code")),
    )
    op.create_index(op.f("ix_devices_site_id"), "devices", ["site_id"], unique=False)
    op.create_table(
        "allotment_returns",
        sa.Column("return_id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("allotment_id", sa.Uuid(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.String(length=20), nullable=True),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "status IN ('accepted', 'disputed')", name=op.f("ck_allotment_returns_status")
        ),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_allotment_returns_quantity")),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.id"], name=op.f("fk_allotment_returns_device_id")
        ),
        sa.PrimaryKeyConstraint("return_id", name=op.f("pk_allotment_returns")),
    )
    op.create_index(
        op.f("ix_allotment_returns_device_id"), "allotment_returns", ["device_id"], unique=False
    )
    op.create_table(
        "device_epochs",
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("enrolled_at", UtcDateTime(), nullable=False),
        sa.Column("superseded_at", UtcDateTime(), nullable=True),
        sa.Column("last_contact_at", UtcDateTime(), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("seen_revision", sa.BigInteger(), nullable=False),
        sa.Column("unsynced", sa.BigInteger(), nullable=True),
        sa.Column("oldest_unsynced_at", UtcDateTime(), nullable=True),
        sa.Column("last_number", sa.BigInteger(), nullable=True),
        sa.Column("app_version", sa.Text(), nullable=True),
        sa.Column("clock_offset_seconds", sa.BigInteger(), nullable=True),
        sa.Column("remaining", sa.JSON(), nullable=True),
        sa.CheckConstraint("epoch > 0", name=op.f("ck_device_epochs_epoch")),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.id"], name=op.f("fk_device_epochs_device_id")
        ),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_device_epochs")),
        sa.UniqueConstraint("device_id", "epoch", name=op.f("uq_device_epochs_device_id")),
    )
    op.create_table(
        "standing_rules",
        sa.Column("site_id", sa.Uuid(), nullable=False),
        sa.Column("variant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("keep", sa.BigInteger(), nullable=False),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.Column("set_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("keep > 0", name=op.f("ck_standing_rules_keep")),
        sa.ForeignKeyConstraint(
            ["site_id"], ["locations.id"], name=op.f("fk_standing_rules_site_id")
        ),
        sa.ForeignKeyConstraint(
            ["variant_id"], ["variants.id"], name=op.f("fk_standing_rules_variant_id")
        ),
        sa.PrimaryKeyConstraint("site_id", "variant_id", name=op.f("pk_standing_rules")),
        sa.UniqueConstraint("id", name=op.f("uq_standing_rules_id")),
    )
    op.create_table(
        "allotments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("lot_id", sa.Uuid(), nullable=False),
        sa.Column("variant_id", sa.Uuid(), nullable=False),
        sa.Column("site_id", sa.Uuid(), nullable=False),
        sa.Column("granted", sa.BigInteger(), nullable=False),
        sa.Column("sold", sa.BigInteger(), nullable=False),
        sa.Column("returned", sa.BigInteger(), nullable=False),
        sa.Column("remaining", sa.BigInteger(), nullable=False),
        sa.Column("written_off", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.String(length=12), nullable=True),
        sa.Column("actor", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("proposed_return", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("granted_at", UtcDateTime(), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "(status = 'suspended') = (reason IS NOT NULL)", name=op.f("ck_allotments_suspended")
        ),
        sa.CheckConstraint(
            "reason IN ('lot_held', 'lot_recalled', 'operator')", name=op.f("ck_allotments_reason")
        ),
        sa.CheckConstraint(
            "status <> 'closed' OR remaining = 0", name=op.f("ck_allotments_closed")
        ),
        sa.CheckConstraint(
            "status IN ('granted', 'active', 'returning', 'suspended', 'closed')",
            name=op.f("ck_allotments_status"),
        ),
        sa.CheckConstraint(
            "granted = sold + returned + remaining + written_off", name=op.f("ck_allotments_quota")
        ),
        sa.CheckConstraint("granted >= 0", name=op.f("ck_allotments_granted")),
        sa.CheckConstraint("proposed_return >= 0", name=op.f("ck_allotments_proposed_return")),
        sa.CheckConstraint("remaining >= 0", name=op.f("ck_allotments_remaining")),
        sa.CheckConstraint("returned >= 0", name=op.f("ck_allotments_returned")),
        sa.CheckConstraint("sold >= 0", name=op.f("ck_allotments_sold")),
        sa.CheckConstraint("written_off >= 0", name=op.f("ck_allotments_written_off")),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.id"], name=op.f("fk_allotments_device_id")
        ),
        sa.ForeignKeyConstraint(["lot_id"], ["lots.id"], name=op.f("fk_allotments_lot_id")),
        sa.ForeignKeyConstraint(["site_id"], ["locations.id"], name=op.f("fk_allotments_site_id")),
        sa.ForeignKeyConstraint(
            ["variant_id"], ["variants.id"], name=op.f("fk_allotments_variant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_allotments")),
        sa.UniqueConstraint("device_id", "epoch", "lot_id", name=op.f("uq_allotments_device_id")),
    )
    op.create_index(op.f("ix_allotments_lot_id"), "allotments", ["lot_id"], unique=False)
    op.create_index(
        "ix_allotments_open",
        "allotments",
        ["variant_id", "site_id"],
        unique=False,
        sqlite_where=sa.text("status <> 'closed'"),
        postgresql_where=sa.text("status <> 'closed'"),
    )
    op.create_table(
        "enrolments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=True),
        sa.Column("used_at", UtcDateTime(), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.id"], name=op.f("fk_enrolments_device_id")
        ),
        sa.ForeignKeyConstraint(
            ["key_id"], ["device_epochs.key_id"], name=op.f("fk_enrolments_key_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_enrolments")),
        sa.UniqueConstraint("digest", name=op.f("uq_enrolments_digest")),
    )
    op.create_index(op.f("ix_enrolments_device_id"), "enrolments", ["device_id"], unique=False)
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
    op.add_column("stock_movements", sa.Column("allotment_id", sa.Uuid(), nullable=True))
    op.add_column("stock_movements", sa.Column("sale_id", sa.Uuid(), nullable=True))
    # SQLite does not count the letters, and would copy the whole ledger to say so.
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("stock_movements", "reason", type_=sa.String(length=20))
    op.create_index(
        "ix_stock_movements_sale_id",
        "stock_movements",
        ["sale_id"],
        unique=False,
        sqlite_where=sa.text("sale_id IS NOT NULL"),
        postgresql_where=sa.text("sale_id IS NOT NULL"),
    )


def downgrade() -> None:
    """Drop them, and with them what stations hold and sold."""
    op.drop_index(
        "ix_stock_movements_sale_id",
        table_name="stock_movements",
        sqlite_where=sa.text("sale_id IS NOT NULL"),
        postgresql_where=sa.text("sale_id IS NOT NULL"),
    )
    # `reason` stays wide: what is written there is too long to go back.
    op.drop_column("stock_movements", "sale_id")
    op.drop_column("stock_movements", "allotment_id")
    op.drop_index(op.f("ix_api_keys_subject"), table_name="api_keys")
    op.drop_table("api_keys")
    op.drop_index(op.f("ix_enrolments_device_id"), table_name="enrolments")
    op.drop_table("enrolments")
    op.drop_index(
        "ix_allotments_open",
        table_name="allotments",
        sqlite_where=sa.text("status <> 'closed'"),
        postgresql_where=sa.text("status <> 'closed'"),
    )
    op.drop_index(op.f("ix_allotments_lot_id"), table_name="allotments")
    op.drop_table("allotments")
    op.drop_table("standing_rules")
    op.drop_table("device_epochs")
    op.drop_index(op.f("ix_allotment_returns_device_id"), table_name="allotment_returns")
    op.drop_table("allotment_returns")
    op.drop_index(op.f("ix_devices_site_id"), table_name="devices")
    op.drop_table("devices")
    op.drop_index(
        "ix_station_sales_of_sale_id",
        table_name="station_sales",
        sqlite_where=sa.text("of_sale_id IS NOT NULL"),
        postgresql_where=sa.text("of_sale_id IS NOT NULL"),
    )
    op.drop_table("station_sales")
    op.drop_index(
        "ix_overdrafts_open",
        table_name="overdrafts",
        sqlite_where=sa.text("status = 'open'"),
        postgresql_where=sa.text("status = 'open'"),
    )
    op.drop_index(op.f("ix_overdrafts_device_id"), table_name="overdrafts")
    op.drop_table("overdrafts")
    op.drop_table("daily_sales")
