"""What stations' tills upload: each entry once, whatever happens to the upload."""

from collections.abc import Callable
from typing import Any

import pytest

Builder = Callable[..., dict[str, Any]]
Recorded = Callable[[], list[tuple[str, dict[str, Any]]]]

pytestmark = pytest.mark.usefixtures("station_price")


def test_a_sale_is_accepted_and_told_once(
    till: Any, a_sale: Builder, recorded_events: Recorded
) -> None:
    (answer,) = till.upload(a_sale(1))
    again, other = till.upload(a_sale(1), a_sale(1, clerk="x"))

    assert answer == {"index": 0, "number": 1, "status": "accepted", "reason": None, "detail": None}
    assert again["status"] == "duplicate"
    assert (other["status"], other["reason"]) == ("disputed", "other_content")
    (type_, sale), (disputed, _) = recorded_events()
    assert type_ == "orders.station_sale_recorded.v1"
    assert disputed == "orders.station_sale_disputed.v1"
    assert sale["sale_id"] == str(till.id_of(1))
    assert till.attention()["items"][0]["reason"] == "other_content"
