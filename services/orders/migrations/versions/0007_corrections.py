"""Names that look the same are one clerk; of a corrected entry, what was sent is kept."""

from collections import defaultdict
from uuid import UUID, uuid5

import sqlalchemy as sa
from alembic import op

from shared.runtime.text import normalised

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

FLAGGED = "CAST(flags AS TEXT) NOT IN ('[]', 'null')"
#: Tables that name a clerk, besides custodies, of which two may become one.
NAMING = ("till_entries", "cash_entries", "remittances", "shifts")
COUNTED = ("collected_fen", "refunded_fen", "remitted_fen", "written_off_fen", "held_fen")
CUSTODIES = sa.table(
    "custodies",
    sa.column("id", sa.Uuid()),
    sa.column("site_id", sa.Uuid()),
    sa.column("clerk", sa.String()),
    *(sa.column(name, sa.BigInteger()) for name in COUNTED),
)


def upgrade() -> None:
    """Add the column and an index of what is flagged; bring names to their one form."""
    op.add_column("till_entries", sa.Column("sent", sa.JSON(none_as_null=True), nullable=True))
    op.create_index(
        "ix_till_entries_flagged",
        "till_entries",
        ["arrival"],
        sqlite_where=sa.text(FLAGGED),
        postgresql_where=sa.text(FLAGGED),
    )
    connection = op.get_bind()
    for name in NAMING:
        table = sa.table(name, sa.column("clerk", sa.String()))
        chosen = sa.select(table.c.clerk).where(table.c.clerk.is_not(None)).distinct()
        for clerk in connection.scalars(chosen).all():
            if clerk != _plain(clerk):
                renamed = sa.update(table).where(table.c.clerk == clerk)
                connection.execute(renamed.values(clerk=_plain(clerk)))
    _unite_custodies(connection)


def _unite_custodies(connection: sa.Connection) -> None:
    rows = connection.execute(sa.select(CUSTODIES)).all()
    wrong = {(row.site_id, _plain(row.clerk)) for row in rows if row.clerk != _plain(row.clerk)}
    sums: defaultdict[tuple[UUID, str], dict[str, int]] = defaultdict(
        lambda: dict.fromkeys(COUNTED, 0)
    )
    for row in rows:
        key = (row.site_id, _plain(row.clerk))
        if key in wrong:
            for name in COUNTED:
                sums[key][name] += getattr(row, name)
            connection.execute(sa.delete(CUSTODIES).where(CUSTODIES.c.id == row.id))
    for (site_id, clerk), held in sums.items():
        named = {"id": uuid5(site_id, clerk), "site_id": site_id, "clerk": clerk}
        connection.execute(sa.insert(CUSTODIES).values(named | held))


def _plain(clerk: str) -> str:
    return normalised(clerk)[:60].rstrip() or "无名 (no name)"


def downgrade() -> None:
    """Forget what tills had sent of corrected entries; names stay as they are."""
    op.drop_index("ix_till_entries_flagged", table_name="till_entries")
    op.drop_column("till_entries", "sent")
