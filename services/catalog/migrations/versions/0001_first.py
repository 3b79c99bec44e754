"""Catalog's first tables; the database refuses changes of the stock ledger."""

import sqlalchemy as sa
from alembic import op

from shared.messaging.migrating import create_shared_tables
from shared.runtime.tables import UtcDateTime

revision = "catalog_0001"
down_revision = None
branch_labels = None
depends_on = None

REFUSAL = "stock_movements is append-only"


def upgrade() -> None:
    """Create the tables."""
    create_shared_tables()
    op.create_table(
        "daily_sales",
        sa.Column("site_id", sa.Uuid(), nullable=False),
        sa.Column("variant_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("site_id", "variant_id", "day", name=op.f("pk_daily_sales")),
    )
    op.create_table(
        "enterprises",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("names", sa.JSON(), nullable=False),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("region_code", sa.Text(), nullable=True),
        sa.Column("licence_no", sa.Text(), nullable=True),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("status IN ('active', 'closed')", name=op.f("ck_enterprises_status")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_enterprises")),
        sa.UniqueConstraint("code", name=op.f("uq_enterprises_code")),
    )
    op.create_table(
        "locations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("level", sa.String(length=10), nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("names", sa.JSON(), nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "level IN ('centre', 'county', 'township', 'village')", name=op.f("ck_locations_level")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_locations")),
        sa.UniqueConstraint("code", name=op.f("uq_locations_code")),
    )
    op.create_index(op.f("ix_locations_level"), "locations", ["level"])
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
    op.create_index(op.f("ix_overdrafts_device_id"), "overdrafts", ["device_id"])
    op.create_index(
        "ix_overdrafts_open",
        "overdrafts",
        ["id"],
        sqlite_where=sa.text("status = 'open'"),
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_table(
        "products",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("names", sa.JSON(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("perishable", sa.Boolean(), nullable=False),
        sa.Column("shelf_life_days", sa.BigInteger(), nullable=True),
        sa.Column("storage", sa.Text(), nullable=True),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("status IN ('listed', 'withdrawn')", name=op.f("ck_products_status")),
        sa.CheckConstraint("shelf_life_days > 0", name=op.f("ck_products_shelf_life")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_products")),
        sa.UniqueConstraint("code", name=op.f("uq_products_code")),
    )
    op.create_index(op.f("ix_products_category"), "products", ["category"])
    op.create_table(
        "reservations",
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.String(length=20), nullable=False),
        sa.Column("site_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.String(length=12), nullable=True),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "status IN ('refused', 'held', 'committed', 'consumed', 'released', 'returned')",
            name=op.f("ck_reservations_status"),
        ),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_reservations")),
    )
    op.create_index(
        "ix_reservations_open",
        "reservations",
        ["order_id"],
        sqlite_where=sa.text("status IN ('held', 'committed')"),
        postgresql_where=sa.text("status IN ('held', 'committed')"),
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
    op.create_index(op.f("ix_devices_site_id"), "devices", ["site_id"])
    op.create_table(
        "memberships",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("cooperative_id", sa.Uuid(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("share_bp", sa.BigInteger(), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date(), nullable=True),
        sa.CheckConstraint("cooperative_id <> member_id", name=op.f("ck_memberships_not_itself")),
        sa.CheckConstraint("share_bp BETWEEN 1 AND 10000", name=op.f("ck_memberships_share")),
        sa.ForeignKeyConstraint(
            ["cooperative_id"], ["enterprises.id"], name=op.f("fk_memberships_cooperative_id")
        ),
        sa.ForeignKeyConstraint(
            ["member_id"], ["enterprises.id"], name=op.f("fk_memberships_member_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_memberships")),
        sa.UniqueConstraint(
            "cooperative_id", "member_id", "valid_from", name=op.f("uq_memberships_cooperative_id")
        ),
    )
    op.create_index(op.f("ix_memberships_cooperative_id"), "memberships", ["cooperative_id"])
    op.create_index(op.f("ix_memberships_member_id"), "memberships", ["member_id"])
    op.create_table(
        "variants",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("product_id", sa.Uuid(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("grade", sa.Text(), nullable=False),
        sa.Column("unit", sa.String(length=10), nullable=False),
        sa.Column("pack_quantity", sa.BigInteger(), nullable=False),
        sa.Column("min_life_days", sa.BigInteger(), nullable=False),
        sa.Column("gtin", sa.String(length=14), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("unit IN ('g', 'piece')", name=op.f("ck_variants_unit")),
        sa.CheckConstraint("min_life_days >= 0", name=op.f("ck_variants_min_life")),
        sa.CheckConstraint("pack_quantity > 0", name=op.f("ck_variants_pack")),
        sa.ForeignKeyConstraint(
            ["product_id"], ["products.id"], name=op.f("fk_variants_product_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_variants")),
        sa.UniqueConstraint("sku", name=op.f("uq_variants_sku")),
    )
    op.create_index(op.f("ix_variants_product_id"), "variants", ["product_id"])
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
    op.create_index(op.f("ix_allotment_returns_device_id"), "allotment_returns", ["device_id"])
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
        "lots",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("variant_id", sa.Uuid(), nullable=False),
        sa.Column("producer_id", sa.Uuid(), nullable=False),
        sa.Column("origin_site_id", sa.Uuid(), nullable=True),
        sa.Column("harvest_date", sa.Date(), nullable=False),
        sa.Column("best_before", sa.Date(), nullable=True),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "status IN ('harvested', 'inspected', 'released', 'held', 'recalled')",
            name=op.f("ck_lots_status"),
        ),
        sa.CheckConstraint("best_before >= harvest_date", name=op.f("ck_lots_dates")),
        sa.ForeignKeyConstraint(
            ["origin_site_id"], ["locations.id"], name=op.f("fk_lots_origin_site_id")
        ),
        sa.ForeignKeyConstraint(
            ["producer_id"], ["enterprises.id"], name=op.f("fk_lots_producer_id")
        ),
        sa.ForeignKeyConstraint(["variant_id"], ["variants.id"], name=op.f("fk_lots_variant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lots")),
        sa.UniqueConstraint("code", name=op.f("uq_lots_code")),
    )
    op.create_index(op.f("ix_lots_producer_id"), "lots", ["producer_id"])
    op.create_index("ix_lots_variant_id_status", "lots", ["variant_id", "status"])
    op.create_table(
        "prices",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("variant_id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.String(length=20), nullable=False),
        sa.Column("price_fen", sa.BigInteger(), nullable=False),
        sa.Column("price_unit", sa.BigInteger(), nullable=False),
        sa.Column("valid_from", UtcDateTime(), nullable=False),
        sa.Column("valid_to", UtcDateTime(), nullable=True),
        sa.CheckConstraint(
            "channel IN ('online', 'station', 'company', 'cooperative')",
            name=op.f("ck_prices_channel"),
        ),
        sa.CheckConstraint("price_fen > 0", name=op.f("ck_prices_price")),
        sa.CheckConstraint("price_unit > 0", name=op.f("ck_prices_unit")),
        sa.CheckConstraint("valid_to > valid_from", name=op.f("ck_prices_span")),
        sa.ForeignKeyConstraint(["variant_id"], ["variants.id"], name=op.f("fk_prices_variant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prices")),
        sa.UniqueConstraint(
            "variant_id", "channel", "valid_from", name=op.f("uq_prices_variant_id")
        ),
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
    op.create_index(op.f("ix_allotments_lot_id"), "allotments", ["lot_id"])
    op.create_index(
        "ix_allotments_open",
        "allotments",
        ["variant_id", "site_id"],
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
    op.create_index(op.f("ix_enrolments_device_id"), "enrolments", ["device_id"])
    op.create_table(
        "stock_levels",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("lot_id", sa.Uuid(), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("available", sa.BigInteger(), nullable=False),
        sa.Column("reserved", sa.BigInteger(), nullable=False),
        sa.Column("committed", sa.BigInteger(), nullable=False),
        sa.Column("allotted", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("damaged", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("allotted >= 0", name=op.f("ck_stock_levels_allotted")),
        sa.CheckConstraint("available >= 0", name=op.f("ck_stock_levels_available")),
        sa.CheckConstraint("committed >= 0", name=op.f("ck_stock_levels_committed")),
        sa.CheckConstraint("damaged >= 0", name=op.f("ck_stock_levels_damaged")),
        sa.CheckConstraint("held >= 0", name=op.f("ck_stock_levels_held")),
        sa.CheckConstraint("reserved >= 0", name=op.f("ck_stock_levels_reserved")),
        sa.ForeignKeyConstraint(
            ["location_id"], ["locations.id"], name=op.f("fk_stock_levels_location_id")
        ),
        sa.ForeignKeyConstraint(["lot_id"], ["lots.id"], name=op.f("fk_stock_levels_lot_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stock_levels")),
        sa.UniqueConstraint("lot_id", "location_id", name=op.f("uq_stock_levels_lot_id")),
    )
    op.create_index(op.f("ix_stock_levels_location_id"), "stock_levels", ["location_id"])
    op.create_table(
        "allotment_counts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("allotment_id", sa.Uuid(), nullable=False),
        sa.Column("counted", sa.BigInteger(), nullable=False),
        sa.Column("missing", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "counted >= 0 AND missing >= 0", name=op.f("ck_allotment_counts_quantities")
        ),
        sa.ForeignKeyConstraint(
            ["allotment_id"], ["allotments.id"], name=op.f("fk_allotment_counts_allotment_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_allotment_counts")),
    )
    op.create_index(op.f("ix_allotment_counts_allotment_id"), "allotment_counts", ["allotment_id"])
    op.create_table(
        "reservation_lines",
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("line_no", sa.BigInteger(), nullable=False),
        sa.Column("lot_id", sa.Uuid(), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("variant_id", sa.Uuid(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_reservation_lines_quantity")),
        sa.ForeignKeyConstraint(
            ["lot_id", "location_id"],
            ["stock_levels.lot_id", "stock_levels.location_id"],
            name=op.f("fk_reservation_lines_lot_id"),
        ),
        sa.ForeignKeyConstraint(
            ["order_id"], ["reservations.order_id"], name=op.f("fk_reservation_lines_order_id")
        ),
        sa.PrimaryKeyConstraint(
            "order_id", "line_no", "lot_id", "location_id", name=op.f("pk_reservation_lines")
        ),
    )
    op.create_table(
        "stock_movements",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("lot_id", sa.Uuid(), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("from_bucket", sa.String(length=12), nullable=False),
        sa.Column("to_bucket", sa.String(length=12), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(length=20), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=True),
        sa.Column("allotment_id", sa.Uuid(), nullable=True),
        sa.Column("sale_id", sa.Uuid(), nullable=True),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("from_bucket <> to_bucket", name=op.f("ck_stock_movements_two_sides")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_stock_movements_quantity")),
        sa.ForeignKeyConstraint(
            ["lot_id", "location_id"],
            ["stock_levels.lot_id", "stock_levels.location_id"],
            name=op.f("fk_stock_movements_lot_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stock_movements")),
    )
    op.create_index(
        "ix_stock_movements_lot_id_location_id", "stock_movements", ["lot_id", "location_id"]
    )
    op.create_index(
        "ix_stock_movements_sale_id",
        "stock_movements",
        ["sale_id"],
        sqlite_where=sa.text("sale_id IS NOT NULL"),
        postgresql_where=sa.text("sale_id IS NOT NULL"),
    )
    _refuse_changes_of_ledger()


def _refuse_changes_of_ledger() -> None:
    """Refuse UPDATE and DELETE on the stock ledger, whoever asks."""
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER stock_movements_no_{verb.lower()} BEFORE {verb} "
                f"ON stock_movements BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
            )
    else:
        op.execute(
            "CREATE FUNCTION refuse_change_of_ledger() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{REFUSAL}'; END $$"
        )
        op.execute(
            "CREATE TRIGGER stock_movements_append_only BEFORE UPDATE OR DELETE "
            "ON stock_movements FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_ledger()"
        )
