"""Logistics' first tables."""

import sqlalchemy as sa
from alembic import op

from shared.messaging.migrating import create_shared_tables
from shared.runtime.tables import UtcDateTime

revision = "logistics_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    create_shared_tables()
    op.create_table(
        "delivery_addresses",
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("language", sa.String(length=10), nullable=False),
        sa.Column("given_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_delivery_addresses")),
    )
    op.create_index(op.f("ix_delivery_addresses_given_at"), "delivery_addresses", ["given_at"])
    op.create_table(
        "sites",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("level", sa.String(length=10), nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("names", sa.JSON(), nullable=False),
        sa.Column("latitude", sa.Float(), nullable=True),
        sa.Column("longitude", sa.Float(), nullable=True),
        sa.Column("opening_hours", sa.String(length=200), nullable=True),
        sa.Column("way", sa.JSON(), nullable=True),
        sa.Column("cold_way", sa.JSON(), nullable=True),
        sa.Column("opened_at", UtcDateTime(), nullable=False),
        sa.Column("closed_at", UtcDateTime(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "(level = 'centre') = (parent_id IS NULL)", name=op.f("ck_sites_parent")
        ),
        sa.CheckConstraint(
            "level IN ('centre', 'county', 'township', 'village')", name=op.f("ck_sites_level")
        ),
        sa.ForeignKeyConstraint(["parent_id"], ["sites.id"], name=op.f("fk_sites_parent_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sites")),
        sa.UniqueConstraint("code", name=op.f("uq_sites_code")),
    )
    op.create_index(op.f("ix_sites_parent_id"), "sites", ["parent_id"])
    op.create_table(
        "stopped_lots",
        sa.Column("lot_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.CheckConstraint(
            "status IN ('held', 'recalled', 'released')", name=op.f("ck_stopped_lots_status")
        ),
        sa.PrimaryKeyConstraint("lot_id", name=op.f("pk_stopped_lots")),
    )
    op.create_table(
        "unplanned_parcels",
        sa.Column("shipment_id", sa.Uuid(), nullable=False),
        sa.Column("first_told_at", UtcDateTime(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("shipment_id", name=op.f("pk_unplanned_parcels")),
    )
    op.create_table(
        "variants",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("product_id", sa.Uuid(), nullable=False),
        sa.Column("storage", sa.Text(), nullable=True),
        sa.Column("listed_in", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_variants")),
    )
    op.create_table(
        "routes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("from_site_id", sa.Uuid(), nullable=False),
        sa.Column("to_site_id", sa.Uuid(), nullable=False),
        sa.Column("hours", sa.BigInteger(), nullable=False),
        sa.Column("days", sa.JSON(), nullable=False),
        sa.Column("cold", sa.Boolean(), nullable=False),
        sa.CheckConstraint("from_site_id <> to_site_id", name=op.f("ck_routes_leads_elsewhere")),
        sa.CheckConstraint("hours > 0", name=op.f("ck_routes_hours")),
        sa.ForeignKeyConstraint(
            ["from_site_id"], ["sites.id"], name=op.f("fk_routes_from_site_id")
        ),
        sa.ForeignKeyConstraint(["to_site_id"], ["sites.id"], name=op.f("fk_routes_to_site_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_routes")),
        sa.UniqueConstraint("from_site_id", "to_site_id", name="uq_routes_from_to"),
    )
    op.create_index(op.f("ix_routes_to_site_id"), "routes", ["to_site_id"])
    op.create_table(
        "shipments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("shipment_ref", sa.String(length=20), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("order_ref", sa.String(length=20), nullable=False),
        sa.Column("site_id", sa.Uuid(), nullable=False),
        sa.Column("collect", sa.Boolean(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "planned",
                "packed",
                "handed_over",
                "delivered",
                "collected",
                "cancelled",
                "refused",
                "returned",
                name="state",
                native_enum=False,
                create_constraint=True,
                length=24,
            ),
            nullable=False,
        ),
        sa.Column("promised_on", sa.Date(), nullable=False),
        sa.Column("cold", sa.Boolean(), nullable=False),
        sa.Column("cold_gap", sa.Boolean(), nullable=False),
        sa.Column("due_fen", sa.BigInteger(), nullable=False),
        sa.Column("collected_fen", sa.BigInteger(), nullable=True),
        sa.Column("at_site_id", sa.Uuid(), nullable=True),
        sa.Column("refusal", sa.String(length=24), nullable=True),
        sa.Column("restocked", sa.Boolean(), nullable=True),
        sa.Column("planned_at", UtcDateTime(), nullable=False),
        sa.Column("packed_at", UtcDateTime(), nullable=True),
        sa.Column("handed_over_at", UtcDateTime(), nullable=True),
        sa.Column("arrived_at", UtcDateTime(), nullable=True),
        sa.Column("refused_at", UtcDateTime(), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("due_fen >= 0", name=op.f("ck_shipments_due")),
        sa.ForeignKeyConstraint(["at_site_id"], ["sites.id"], name=op.f("fk_shipments_at_site_id")),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_shipments_site_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shipments")),
        sa.UniqueConstraint("order_id", name=op.f("uq_shipments_order_id")),
        sa.UniqueConstraint("shipment_ref", name=op.f("uq_shipments_shipment_ref")),
    )
    op.create_index(
        "ix_shipments_open",
        "shipments",
        ["planned_at"],
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index("ix_shipments_site_state", "shipments", ["site_id", "state"])
    op.create_table(
        "collection_codes",
        sa.Column("shipment_id", sa.Uuid(), nullable=False),
        sa.Column("salt", sa.LargeBinary(length=16), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("wrong_tries", sa.SmallInteger(), nullable=False),
        sa.Column("issued_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["shipment_id"], ["shipments.id"], name=op.f("fk_collection_codes_shipment_id")
        ),
        sa.PrimaryKeyConstraint("shipment_id", name=op.f("pk_collection_codes")),
    )
    op.create_table(
        "proofs_of_delivery",
        sa.Column("shipment_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=4), nullable=False),
        sa.Column("received_by", sa.String(length=100), nullable=True),
        sa.Column("collected_fen", sa.BigInteger(), nullable=False),
        sa.Column("difference_reason", sa.String(length=200), nullable=True),
        sa.Column("handed_over_by", sa.Text(), nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=True),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "kind = 'code' OR received_by IS NOT NULL", name=op.f("ck_proofs_of_delivery_shown")
        ),
        sa.CheckConstraint("kind IN ('code', 'name')", name=op.f("ck_proofs_of_delivery_kind")),
        sa.ForeignKeyConstraint(
            ["shipment_id"], ["shipments.id"], name=op.f("fk_proofs_of_delivery_shipment_id")
        ),
        sa.PrimaryKeyConstraint("shipment_id", name=op.f("pk_proofs_of_delivery")),
    )
    op.create_table(
        "shipment_lines",
        sa.Column("shipment_id", sa.Uuid(), nullable=False),
        sa.Column("line_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("lot_id", sa.Uuid(), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("variant_id", sa.Uuid(), nullable=False),
        sa.Column("lot_code", sa.Text(), nullable=False),
        sa.Column("producer_id", sa.Uuid(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_shipment_lines_quantity")),
        sa.ForeignKeyConstraint(
            ["shipment_id"], ["shipments.id"], name=op.f("fk_shipment_lines_shipment_id")
        ),
        sa.PrimaryKeyConstraint(
            "shipment_id", "line_no", "lot_id", "location_id", name=op.f("pk_shipment_lines")
        ),
    )
    op.create_index(op.f("ix_shipment_lines_lot_id"), "shipment_lines", ["lot_id"])
    op.create_table(
        "tracking_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("shipment_id", sa.Uuid(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "pre_transit",
                "in_transit",
                "at_station",
                "out_for_delivery",
                "available_for_pickup",
                "delivered",
                "failed_attempt",
                "return_to_sender",
                "returned",
                "lost",
                "damaged",
                "temperature_excursion",
                "unknown",
                name="status",
                native_enum=False,
                create_constraint=True,
                length=24,
            ),
            nullable=False,
        ),
        sa.Column("site_id", sa.Uuid(), nullable=True),
        sa.Column("carrier", sa.String(length=40), nullable=True),
        sa.Column("carrier_code", sa.String(length=80), nullable=True),
        sa.Column("happened_at", UtcDateTime(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["shipment_id"], ["shipments.id"], name=op.f("fk_tracking_events_shipment_id")
        ),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_tracking_events_site_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tracking_events")),
    )
    op.create_index(op.f("ix_tracking_events_shipment_id"), "tracking_events", ["shipment_id"])
