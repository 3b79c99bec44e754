"""Do the balances, the ledger and what has a claim on them agree?"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

BUCKETS = ("available", "reserved", "committed", "allotted", "held", "damaged")

#: Accounts outside of the buckets: goods come from them, or go there.
FLOWS = {"received": -1, "restocked": -1, "found": -1, "consumed": 1, "lost": 1, "in_transit": 1}


def check_books(centre: Any, lot_ids: Iterable[str], flows: Counter[tuple[str, str]]) -> None:
    """Compare balances with the ledger and with what has a claim on them: invariants 1 to 5.

    `flows` says what ought to have come and gone, by lot and account.
    """
    levels = {
        (row.lot_id, row.location_id): row
        for row in centre.rows("catalog", "SELECT * FROM stock_levels")
    }
    sums: dict[tuple[str, str], Counter[str]] = {place: Counter() for place in levels}
    accounts: dict[str, Counter[str]] = {lot_id: Counter() for lot_id in lot_ids}
    statement = (
        "SELECT lot_id, location_id, from_bucket, to_bucket, sum(quantity) AS quantity "
        "FROM stock_movements GROUP BY lot_id, location_id, from_bucket, to_bucket"
    )
    for row in centre.rows("catalog", statement):
        sums[row.lot_id, row.location_id][row.from_bucket] -= row.quantity
        sums[row.lot_id, row.location_id][row.to_bucket] += row.quantity
        accounts[row.lot_id][row.from_bucket] -= row.quantity
        accounts[row.lot_id][row.to_bucket] += row.quantity
    claims: Counter[tuple[str, str, str]] = Counter()
    for row in centre.rows(
        "catalog",
        "SELECT lot_id, site_id, sum(remaining) AS quantity FROM allotments "
        "WHERE status <> 'closed' GROUP BY lot_id, site_id",
    ):
        claims[row.lot_id, row.site_id, "allotted"] += row.quantity
    for row in centre.rows(
        "catalog",
        "SELECT n.lot_id, n.location_id, r.status, sum(n.quantity) AS quantity "
        "FROM reservation_lines n JOIN reservations r ON r.order_id = n.order_id "
        "WHERE r.status IN ('held', 'committed') GROUP BY n.lot_id, n.location_id, r.status",
    ):
        bucket = {"held": "reserved", "committed": "committed"}[row.status]
        claims[row.lot_id, row.location_id, bucket] += row.quantity
    for place, level in levels.items():
        for bucket in BUCKETS:
            balance = getattr(level, bucket)
            assert balance >= 0
            assert balance == sums[place][bucket], (place, bucket)
            if bucket in ("allotted", "reserved", "committed"):
                assert balance == claims[*place, bucket], (place, bucket)
    on_hand: Counter[str] = Counter()
    for (lot_id, _), level in levels.items():
        on_hand[lot_id] += sum(getattr(level, bucket) for bucket in BUCKETS)
    for lot_id, account in accounts.items():
        came = -(account["received"] + account["restocked"] + account["found"])
        went = account["in_transit"] + account["consumed"] + account["lost"]
        assert came == on_hand[lot_id] + went
        # Nothing is ever sold twice: what buyers have was received, and is not lost.
        assert account["consumed"] + account["lost"] <= came
        for name, sign in FLOWS.items():
            assert account[name] == sign * flows[lot_id, name], (lot_id, name)
