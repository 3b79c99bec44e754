"""What catalog does when stations upload what they sold over the counter."""

from collections.abc import Callable
from typing import Any

from shared.events import StationSaleRecorded

Recorded = Callable[[], list[tuple[str, dict[str, Any]]]]


def test_a_sale_within_the_grant_is_booked_and_counts_once(
    shop: Any, till: Any, grant: Any, quota: Any, deliver: Any, balanced: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    grant(till, lot, 400)
    sale = till.a_sale((lot, 150))

    deliver(StationSaleRecorded, _many=[sale, sale])
    deliver(StationSaleRecorded, **sale)

    assert quota(till, lot) == (400, 150, 0, 250, 0)
    assert shop.level(lot) == {"available": 600}
    assert shop.level(lot, shop.station) == {"allotted": 250}
    assert balanced() == []
