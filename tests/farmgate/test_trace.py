"""Four answers become one time line."""

from typing import Any

import pytest

from farmgate import trace
from farmgate.failures import Failed


def published(event_id: str, type_: str, at: str, **changes: Any) -> dict[str, Any]:
    entry = {
        "event_id": event_id,
        "type": type_,
        "subject": "order/1",
        "sequence": 1,
        "recorded_at": f"2026-08-01T08:00:{at}Z",
        "published_at": None,
        "position": None,
    }
    return entry | changes


def handled(event_id: str, type_: str, at: str, handled_at: str) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "type": type_,
        "subject": "order/1",
        "recorded_at": f"2026-08-01T08:00:{at}Z",
        "handled_at": f"2026-08-01T08:00:{handled_at}Z",
    }


def answer(**lists: list[dict[str, Any]]) -> dict[str, Any]:
    return {"published": [], "handled": [], "parked": []} | lists


def test_facts_come_in_the_order_of_time_with_who_handled_them() -> None:
    reserved = published("b", "catalog.stock_reserved.v1", "00.030")
    placed = published(
        "a", "orders.order_placed.v1", "00.000", published_at="2026-08-01T08:00:00.012Z"
    )

    timeline = trace.merge(
        {
            "catalog": answer(
                published=[reserved],
                handled=[handled("a", "orders.order_placed.v1", "00.000", "00.025")],
            ),
            "orders": answer(published=[placed]),
        }
    )

    assert [(event.type, event.publisher) for event in timeline] == [
        ("orders.order_placed.v1", "orders"),
        ("catalog.stock_reserved.v1", "catalog"),
    ]
    assert timeline[0].published_after_ms == 12
    assert timeline[0].handled == [trace.HandledEvent("catalog", 25)]
    assert timeline[1].published_after_ms is None


def test_a_parked_event_shows_its_attempts() -> None:
    parked = {
        "event_id": "a",
        "type": "orders.order_placed.v1",
        "subject": "order/1",
        "state": "waiting",
        "reason": "handler_failed",
        "attempts": 3,
        "first_failed_at": "2026-08-01T08:00:01Z",
        "next_attempt_at": "2026-08-01T08:00:20Z",
    }

    timeline = trace.merge({"catalog": answer(parked=[parked])})

    assert timeline[0].parked == [
        trace.ParkedEvent("catalog", "waiting", "handler_failed", 3, "2026-08-01T08:00:20Z")
    ]


def test_a_silent_publisher_does_not_hide_what_others_handled() -> None:
    timeline = trace.merge(
        {"catalog": answer(handled=[handled("a", "orders.order_placed.v1", "00.000", "00.025")])}
    )

    assert [event.type for event in timeline] == ["orders.order_placed.v1"]


def test_a_state_is_shown_without_what_is_unset() -> None:
    state = {
        "order_ref": "ORD-7KQ2M9XH",
        "expires_at": None,
        "lines": [{"line_no": 1, "lots": [{"lot_code": "A", "quantity": 500}]}],
    }

    assert list(trace.lines_of(state)) == [
        "order ref: ORD-7KQ2M9XH",
        "lines:",
        "  - line no 1, lots [lot code A, quantity 500]",
    ]


def held_up(**answers: dict[str, Any]) -> list[tuple[str, str]]:
    found = trace.held_up(
        trace.merge(answers), answers.keys(), {"orders.order_placed.v1": {"catalog"}}
    )
    return [(each.service, each.why.partition(":")[0].partition(" (")[0]) for each in found]


def test_an_event_is_held_up_where_it_is_not_published_not_taken_in_or_parked() -> None:
    waiting = published("a", "orders.order_placed.v1", "00.000")
    sent = waiting | {"published_at": "2026-08-01T08:00:00.012Z"}
    taken = handled("a", "orders.order_placed.v1", "00.000", "00.025")
    parked = taken | {
        "state": "dead",
        "reason": "handler_failed",
        "attempts": 12,
        "first_failed_at": "2026-08-01T08:00:01Z",
        "next_attempt_at": None,
    }

    assert held_up(orders=answer(published=[waiting]), catalog=answer()) == [
        ("orders", "not published")
    ]
    assert held_up(orders=answer(published=[sent]), catalog=answer()) == [
        ("catalog", "not handled")
    ]
    assert held_up(orders=answer(published=[sent]), catalog=answer(parked=[parked])) == [
        ("catalog", "parked there")
    ]
    assert held_up(orders=answer(published=[sent]), catalog=answer(handled=[taken])) == []
    # Catalog does not answer: whether it took it in is not known.
    assert held_up(orders=answer(published=[sent])) == []


class OrdersOf:
    """Orders' list, as `farmgate trace` asks for it."""

    def __init__(self, *orders: dict[str, str]) -> None:
        self.orders = orders

    def get(self, service: str, path: str, **query: str) -> dict[str, Any]:
        """Return the orders that a query finds."""
        assert (service, path) == ("orders", "/orders")
        if "q" in query:
            found = [
                each
                for each in self.orders
                if each["order_ref"].startswith(query["q"])
                or each.get("external_ref", "").startswith(query["q"])
            ]
        else:
            found = [
                each for each in self.orders if each.get("external_ref") == query["external_ref"]
            ]
        return {"items": found}


def test_an_order_is_found_by_its_reference_its_partners_number_or_its_id() -> None:
    orders = OrdersOf(
        {"order_id": "one", "order_ref": "ORD-7KQ2M9XH"},
        {"order_id": "two", "order_ref": "ORD-22222222", "external_ref": "ORD-7KQ2M9XH-2"},
        {"order_id": "three", "order_ref": "ORD-33333333", "external_ref": "SO/2026-17"},
        {"order_id": "four", "order_ref": "ORD-44444444", "external_ref": "ORD-ABCDEFGH"},
    )
    order_id = "0198d1f2-6a3b-7c4d-8e5f-0123456789ab"

    def found(order: str) -> str:
        return trace.find_order(orders, order)  # type: ignore[arg-type]  # all that it asks

    assert found("ord-7kq2m9xh") == "one"
    assert found("SO/2026-17") == "three"
    assert found("ORD-ABCDEFGH") == "four"
    assert found(order_id) == order_id


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ("SO-1", "Several partners have an order SO-1: ORD-22222222 of a, ORD-33333333 of b"),
        ("SO-2", "There is no order SO-2"),
        ("ORD-99999999", "There is no order ORD-99999999"),
        ("two words", "two words is no order's reference"),
    ],
)
def test_an_order_that_is_not_there_or_not_one_is_named(order: str, said: str) -> None:
    orders = OrdersOf(
        {"order_id": "1", "order_ref": "ORD-22222222", "external_ref": "SO-1", "partner": "a"},
        {"order_id": "2", "order_ref": "ORD-33333333", "external_ref": "SO-1", "partner": "b"},
    )

    with pytest.raises(Failed, match=said):
        trace.find_order(orders, order)  # type: ignore[arg-type]  # all that it asks
