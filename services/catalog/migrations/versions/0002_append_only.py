"""The stock ledger can only be added to."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TEXT = "stock_movements is append-only"


def upgrade() -> None:
    """Refuse UPDATE and DELETE on the ledger, whoever asks."""
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER stock_movements_no_{verb.lower()} BEFORE {verb} "
                f"ON stock_movements BEGIN SELECT RAISE(ABORT, '{TEXT}'); END"
            )
    else:
        op.execute(
            "CREATE FUNCTION refuse_change_of_ledger() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{TEXT}'; END $$"
        )
        op.execute(
            "CREATE TRIGGER stock_movements_append_only BEFORE UPDATE OR DELETE "
            "ON stock_movements FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_ledger()"
        )


def downgrade() -> None:
    """Let the ledger be changed."""
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("update", "delete"):
            op.execute(f"DROP TRIGGER stock_movements_no_{verb}")
    else:
        op.execute("DROP TRIGGER stock_movements_append_only ON stock_movements")
        op.execute("DROP FUNCTION refuse_change_of_ledger()")
