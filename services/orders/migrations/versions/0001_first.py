"""Orders' first tables."""

import sqlalchemy as sa
from alembic import op

from shared.messaging.migrating import create_shared_tables
from shared.runtime.tables import UtcDateTime

revision = "orders_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    create_shared_tables()
    op.create_table(
        "custodies",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("site_id", sa.Uuid(), nullable=False),
        sa.Column("clerk", sa.String(length=60), nullable=False),
        sa.Column("collected_fen", sa.BigInteger(), nullable=False),
        sa.Column("refunded_fen", sa.BigInteger(), nullable=False),
        sa.Column("remitted_fen", sa.BigInteger(), nullable=False),
        sa.Column("written_off_fen", sa.BigInteger(), nullable=False),
        sa.Column("held_fen", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "held_fen = collected_fen - refunded_fen - remitted_fen - written_off_fen",
            name=op.f("ck_custodies_held"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_custodies")),
    )
    op.create_index(op.f("ix_custodies_site_id"), "custodies", ["site_id", "clerk"], unique=False)
    op.create_table(
        "journals",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("site_id", sa.Uuid(), nullable=False),
        sa.Column("device_code", sa.Text(), nullable=False),
        sa.Column("highest", sa.BigInteger(), nullable=False),
        sa.Column("holes", sa.JSON(), nullable=False),
        sa.Column("last_upload_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_journals")),
        sa.UniqueConstraint("device_id", "epoch", name=op.f("uq_journals_device_id")),
    )
    op.create_table(
        "orders",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("arrival", sa.Uuid(), nullable=False),
        sa.Column("order_ref", sa.String(length=20), nullable=False),
        sa.Column("channel", sa.String(length=20), nullable=False),
        sa.Column("buyer_id", sa.String(length=64), nullable=True),
        sa.Column("placed_by", sa.String(length=255), nullable=False),
        sa.Column("site_id", sa.Uuid(), nullable=False),
        sa.Column("collect", sa.Boolean(), nullable=False),
        sa.Column("masked_phone", sa.String(length=20), nullable=False),
        sa.Column("phone_digest", sa.LargeBinary(length=32), nullable=True),
        sa.Column("approval_reason", sa.String(length=40), nullable=True),
        sa.Column("approved_by", sa.String(length=255), nullable=True),
        sa.Column("guest_secret_digest", sa.LargeBinary(length=32), nullable=True),
        sa.Column("payment_method", sa.String(length=20), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "placed",
                "reserved",
                "confirmed",
                "in_fulfilment",
                "shipped",
                "delivered",
                "collected",
                "completed",
                "rejected",
                "expired",
                "cancelled",
                "returned",
                name="state",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column(
            "payment_state",
            sa.Enum(
                "pending",
                "failed",
                "paid",
                "refunded",
                "voided",
                "cod_due",
                "cod_collected",
                "cod_refused",
                name="payment_state",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column(
            "fulfilment_state",
            sa.Enum(
                "planned",
                "packed",
                "dispatched",
                "delivered",
                "collected",
                "failed",
                "cancelled",
                "returned",
                name="fulfilment_state",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=True,
        ),
        sa.Column("total_fen", sa.BigInteger(), nullable=False),
        sa.Column("paid_fen", sa.BigInteger(), nullable=False),
        sa.Column("refunded_fen", sa.BigInteger(), nullable=False),
        sa.Column("difference_fen", sa.BigInteger(), nullable=True),
        sa.Column("payment_id", sa.Uuid(), nullable=True),
        sa.Column("hold_seconds", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.Column("reason", sa.String(length=40), nullable=True),
        sa.Column("shortfalls", sa.JSON(), nullable=True),
        sa.Column("shipment_id", sa.Uuid(), nullable=True),
        sa.Column("shipment_ref", sa.String(length=20), nullable=True),
        sa.Column("promised_on", sa.Date(), nullable=True),
        sa.Column("placed_at", UtcDateTime(), nullable=False),
        sa.Column("decided_at", UtcDateTime(), nullable=True),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "channel IN ('online', 'station', 'company', 'cooperative')",
            name=op.f("ck_orders_channel"),
        ),
        sa.CheckConstraint(
            "expires_at IS NULL OR (payment_method = 'prepaid' AND state = 'reserved')",
            name=op.f("ck_orders_expires"),
        ),
        sa.CheckConstraint(
            "payment_method IN ('cash_on_delivery', 'cash_at_station', 'prepaid')",
            name=op.f("ck_orders_payment_method"),
        ),
        sa.CheckConstraint(
            "state != 'expired' OR payment_method = 'prepaid'", name=op.f("ck_orders_expired")
        ),
        sa.CheckConstraint(
            "0 <= refunded_fen AND refunded_fen <= paid_fen", name=op.f("ck_orders_refunded")
        ),
        sa.CheckConstraint("total_fen >= 0", name=op.f("ck_orders_total")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orders")),
    )
    op.create_index(op.f("ix_orders_arrival"), "orders", ["arrival"], unique=True)
    op.create_index("ix_orders_buyer_id_arrival", "orders", ["buyer_id", "arrival"])
    op.create_index("ix_orders_channel_arrival", "orders", ["channel", "arrival"])
    op.create_index(
        "ix_orders_expires_at",
        "orders",
        ["expires_at"],
        sqlite_where=sa.text("expires_at IS NOT NULL"),
        postgresql_where=sa.text("expires_at IS NOT NULL"),
    )
    op.create_index(
        "ix_orders_open_buyer_id",
        "orders",
        ["buyer_id"],
        sqlite_where=sa.text("phone_digest IS NOT NULL"),
        postgresql_where=sa.text("phone_digest IS NOT NULL"),
    )
    op.create_index(
        "ix_orders_open_phone_digest",
        "orders",
        ["phone_digest"],
        sqlite_where=sa.text("phone_digest IS NOT NULL"),
        postgresql_where=sa.text("phone_digest IS NOT NULL"),
    )
    op.create_index(
        "ix_orders_open_placed_by",
        "orders",
        ["placed_by"],
        sqlite_where=sa.text("phone_digest IS NOT NULL"),
        postgresql_where=sa.text("phone_digest IS NOT NULL"),
    )
    op.create_index(op.f("ix_orders_placed_at"), "orders", ["placed_at"])
    op.create_index("ix_orders_placed_by_arrival", "orders", ["placed_by", "arrival"])
    op.create_index("ix_orders_state_arrival", "orders", ["state", "arrival"])
    op.create_index(
        "ix_orders_unplanned",
        "orders",
        ["state", "changed_at"],
        sqlite_where=sa.text("(state = 'placed' OR (state = 'confirmed' AND shipment_id IS NULL))"),
        postgresql_where=sa.text(
            "(state = 'placed' OR (state = 'confirmed' AND shipment_id IS NULL))"
        ),
    )
    op.create_index(
        "ix_orders_unstopped",
        "orders",
        ["state", "changed_at"],
        sqlite_where=sa.text("state = 'cancelled' AND fulfilment_state IN ('planned', 'packed')"),
        postgresql_where=sa.text(
            "state = 'cancelled' AND fulfilment_state IN ('planned', 'packed')"
        ),
    )
    op.create_index(
        "uq_orders_guest_secret_digest",
        "orders",
        ["guest_secret_digest"],
        unique=True,
        sqlite_where=sa.text("guest_secret_digest IS NOT NULL"),
        postgresql_where=sa.text("guest_secret_digest IS NOT NULL"),
    )
    op.create_index(
        "uq_orders_order_ref",
        "orders",
        ["order_ref"],
        unique=True,
        postgresql_ops={"order_ref": "text_pattern_ops"},
    )
    op.create_table(
        "price_copies",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("variant_id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.String(length=20), nullable=False),
        sa.Column("price_fen", sa.BigInteger(), nullable=False),
        sa.Column("price_unit", sa.BigInteger(), nullable=False),
        sa.Column("valid_from", UtcDateTime(), nullable=False),
        sa.Column("valid_to", UtcDateTime(), nullable=True),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("price_fen >= 0 AND price_unit > 0", name=op.f("ck_price_copies_price")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_price_copies")),
    )
    op.create_index(
        "ix_price_copies_variant_id_channel_valid_from",
        "price_copies",
        ["variant_id", "channel", "valid_from"],
        unique=True,
    )
    op.create_table(
        "product_copies",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("withdrawn", sa.Boolean(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_product_copies")),
    )
    op.create_table(
        "remittances",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("site_id", sa.Uuid(), nullable=False),
        sa.Column("clerk", sa.String(length=60), nullable=False),
        sa.Column("sent_fen", sa.BigInteger(), nullable=False),
        sa.Column("counted_fen", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("recorded_by", sa.String(length=255), nullable=False),
        sa.Column("remitted_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "sent_fen = counted_fen OR reason IS NOT NULL", name=op.f("ck_remittances_reason")
        ),
        sa.CheckConstraint(
            "sent_fen >= 0 AND counted_fen >= 0", name=op.f("ck_remittances_counts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_remittances")),
    )
    op.create_table(
        "shifts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("site_id", sa.Uuid(), nullable=False),
        sa.Column("device_code", sa.Text(), nullable=False),
        sa.Column("clerk", sa.String(length=60), nullable=False),
        sa.Column("opened_at", UtcDateTime(), nullable=True),
        sa.Column("float_fen", sa.BigInteger(), nullable=True),
        sa.Column("closed_number", sa.BigInteger(), nullable=True),
        sa.Column("closed_at", UtcDateTime(), nullable=True),
        sa.Column("counted_fen", sa.BigInteger(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shifts")),
        sa.UniqueConstraint("device_id", "epoch", "number", name=op.f("uq_shifts_device_id")),
    )
    op.create_index("ix_shifts_site_id_id", "shifts", ["site_id", "id"])
    op.create_table(
        "site_copies",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("closed", sa.Boolean(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_site_copies")),
    )
    op.create_table(
        "till_entries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("arrival", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("copy", sa.SmallInteger(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "sale",
                "void",
                "return",
                "hand_over",
                "order",
                "shift_open",
                "shift_close",
                "unknown",
                name="kind",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column(
            "status",
            sa.Enum(
                "accepted",
                "waiting",
                "disputed",
                "settled",
                "acknowledged",
                name="status",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("reason", sa.String(length=60), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("resolution", sa.String(length=20), nullable=True),
        sa.Column("resolved_by", sa.String(length=255), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("flags", sa.JSON(), nullable=False),
        sa.Column("expected_fen", sa.BigInteger(), nullable=True),
        sa.Column("clerk", sa.String(length=60), nullable=True),
        sa.Column("shift", sa.BigInteger(), nullable=True),
        sa.Column("site_id", sa.Uuid(), nullable=False),
        sa.Column("device_code", sa.Text(), nullable=False),
        sa.Column("device_time", UtcDateTime(), nullable=True),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.Column("of_entry_id", sa.Uuid(), nullable=True),
        sa.Column("voided", sa.Boolean(), nullable=False),
        sa.Column("total_fen", sa.BigInteger(), nullable=True),
        sa.Column("payment", sa.String(length=10), nullable=True),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("sent", sa.JSON(), nullable=True),
        sa.Column("taken", sa.JSON(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("payment IN ('cash', 'mobile')", name=op.f("ck_till_entries_payment")),
        sa.CheckConstraint(
            "status != 'disputed' OR reason IS NOT NULL", name=op.f("ck_till_entries_disputed")
        ),
        sa.CheckConstraint(
            "number >= 1 AND epoch >= 1 AND copy >= 1", name=op.f("ck_till_entries_name")
        ),
        sa.CheckConstraint("total_fen >= 0", name=op.f("ck_till_entries_total")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_till_entries")),
        sa.UniqueConstraint("arrival", name=op.f("uq_till_entries_arrival")),
        sa.UniqueConstraint(
            "device_id", "epoch", "number", "copy", name=op.f("uq_till_entries_device_id")
        ),
        sa.UniqueConstraint(
            "device_id", "epoch", "number", "digest", name="uq_till_entries_device_id_digest"
        ),
    )
    op.create_index("ix_till_entries_device_id_arrival", "till_entries", ["device_id", "arrival"])
    op.create_index(
        "ix_till_entries_flagged",
        "till_entries",
        ["arrival"],
        sqlite_where=sa.text("CAST(flags AS TEXT) NOT IN ('[]', 'null')"),
        postgresql_where=sa.text("CAST(flags AS TEXT) NOT IN ('[]', 'null')"),
    )
    op.create_index(
        "ix_till_entries_of_entry_id",
        "till_entries",
        ["of_entry_id"],
        sqlite_where=sa.text("of_entry_id IS NOT NULL"),
        postgresql_where=sa.text("of_entry_id IS NOT NULL"),
    )
    op.create_index(
        "ix_till_entries_open",
        "till_entries",
        ["device_id", "epoch", "status"],
        sqlite_where=sa.text("status IN ('waiting', 'disputed', 'settled', 'acknowledged')"),
        postgresql_where=sa.text("status IN ('waiting', 'disputed', 'settled', 'acknowledged')"),
    )
    op.create_index("ix_till_entries_site_id_arrival", "till_entries", ["site_id", "arrival"])
    op.create_index(
        "ix_till_entries_status_arrival",
        "till_entries",
        ["status", "arrival"],
        sqlite_where=sa.text("status IN ('waiting', 'disputed', 'settled', 'acknowledged')"),
        postgresql_where=sa.text("status IN ('waiting', 'disputed', 'settled', 'acknowledged')"),
    )
    op.create_table(
        "cash_entries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("site_id", sa.Uuid(), nullable=False),
        sa.Column("clerk", sa.String(length=60), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=True),
        sa.Column("epoch", sa.BigInteger(), nullable=True),
        sa.Column("shift", sa.BigInteger(), nullable=True),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("cause", sa.String(length=20), nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=True),
        sa.Column("remittance_id", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("recorded_by", sa.String(length=255), nullable=True),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "cause IN ('sale', 'void', 'return', 'hand_over', 'remitted', 'written_off')",
            name=op.f("ck_cash_entries_cause"),
        ),
        sa.ForeignKeyConstraint(
            ["entry_id"], ["till_entries.id"], name=op.f("fk_cash_entries_entry_id")
        ),
        sa.ForeignKeyConstraint(
            ["remittance_id"], ["remittances.id"], name=op.f("fk_cash_entries_remittance_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cash_entries")),
        sa.UniqueConstraint("entry_id", name=op.f("uq_cash_entries_entry_id")),
    )
    op.create_index(
        "ix_cash_entries_device_id_epoch_shift", "cash_entries", ["device_id", "epoch", "shift"]
    )
    op.create_index(op.f("ix_cash_entries_remittance_id"), "cash_entries", ["remittance_id"])
    op.create_index("ix_cash_entries_site_id_clerk", "cash_entries", ["site_id", "clerk"])
    op.create_table(
        "order_lines",
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("line_no", sa.SmallInteger(), nullable=False),
        sa.Column("variant_id", sa.Uuid(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("price_fen", sa.BigInteger(), nullable=False),
        sa.Column("price_unit", sa.BigInteger(), nullable=False),
        sa.Column("line_total_fen", sa.BigInteger(), nullable=False),
        sa.Column("lots", sa.JSON(), nullable=True),
        sa.CheckConstraint("line_total_fen >= 0", name=op.f("ck_order_lines_line_total")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_order_lines_quantity")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_order_lines_order_id")),
        sa.PrimaryKeyConstraint("order_id", "line_no", name=op.f("pk_order_lines")),
    )
    op.create_table(
        "payments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("payment_ref", sa.String(length=100), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("status IN ('paid', 'failed')", name=op.f("ck_payments_status")),
        sa.CheckConstraint("amount_fen > 0", name=op.f("ck_payments_amount")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_payments_order_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payments")),
        sa.UniqueConstraint("payment_ref", name=op.f("uq_payments_payment_ref")),
    )
    op.create_index(op.f("ix_payments_order_id"), "payments", ["order_id"])
    op.create_table(
        "taken_back",
        sa.Column("sale_id", sa.Uuid(), nullable=False),
        sa.Column("line_no", sa.SmallInteger(), nullable=False),
        sa.Column("sold", sa.BigInteger(), nullable=False),
        sa.Column("sold_fen", sa.BigInteger(), nullable=False),
        sa.Column("taken", sa.BigInteger(), nullable=False),
        sa.Column("taken_fen", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("0 <= taken AND taken <= sold", name=op.f("ck_taken_back_taken")),
        sa.CheckConstraint(
            "0 <= taken_fen AND taken_fen <= sold_fen", name=op.f("ck_taken_back_taken_fen")
        ),
        sa.ForeignKeyConstraint(
            ["sale_id"], ["till_entries.id"], name=op.f("fk_taken_back_sale_id")
        ),
        sa.PrimaryKeyConstraint("sale_id", "line_no", name=op.f("pk_taken_back")),
    )
    op.create_table(
        "variant_copies",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("product_id", sa.Uuid(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("unit", sa.String(length=10), nullable=False),
        sa.Column("pack_quantity", sa.BigInteger(), nullable=False),
        sa.Column("on_sale", sa.Boolean(), nullable=False),
        sa.CheckConstraint("unit IN ('g', 'piece')", name=op.f("ck_variant_copies_unit")),
        sa.CheckConstraint("pack_quantity > 0", name=op.f("ck_variant_copies_pack_quantity")),
        sa.ForeignKeyConstraint(
            ["product_id"], ["product_copies.id"], name=op.f("fk_variant_copies_product_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_variant_copies")),
    )
    op.create_index(op.f("ix_variant_copies_product_id"), "variant_copies", ["product_id"])
    op.create_table(
        "refunds",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=True),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("cause", sa.String(length=40), nullable=False),
        sa.Column("refunded_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("amount_fen > 0", name=op.f("ck_refunds_amount")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_refunds_order_id")),
        sa.ForeignKeyConstraint(
            ["payment_id"], ["payments.id"], name=op.f("fk_refunds_payment_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refunds")),
    )
    op.create_index(op.f("ix_refunds_order_id"), "refunds", ["order_id"])
    op.create_index(op.f("ix_refunds_payment_id"), "refunds", ["payment_id"])
