"""Goods in a feed: quantities for all who ask, and the prices that the partner may read."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from services.notifications.rules.feed import GRANTS
from shared.events import CHANNELS, AvailabilityChanged, PriceChanged
from shared.runtime.ids import new_id

Headers = dict[str, str]


@pytest.fixture
def sell(deliver: Callable[..., Any]) -> Callable[[], None]:
    """Let catalog publish a variant's quantity, and its price in each channel."""

    def publish() -> None:
        variant_id = new_id()
        deliver(AvailabilityChanged, variant_id=variant_id, quantity=500, capped=False)
        for channel in CHANNELS:
            deliver(
                PriceChanged,
                variant_id=variant_id,
                channel=channel,
                price_fen=6800,
                price_unit=500,
                valid_from="2026-07-01T00:00:00Z",
                valid_to=None,
            )

    return publish


def prices_in(answer: Any) -> list[str]:
    """Return the channels of the prices in a part of a feed, in order."""
    events = [each["event"] for each in answer["events"]]
    return [each["data"]["channel"] for each in events if each["type"] == PriceChanged.routing_key]


@pytest.mark.parametrize(
    ("grants", "channels"),
    [
        ([], ["online", "station"]),
        (["company_prices"], ["online", "station", "company"]),
        (["cooperative_prices", "orders"], ["online", "station", "cooperative"]),
        ([*GRANTS], ["online", "station", "company", "cooperative"]),
    ],
)
def test_a_feed_has_the_public_prices_and_those_that_an_operator_granted(
    client: FlaskClient,
    token: Callable[..., Headers],
    subscribed: Callable[..., Headers],
    sell: Callable[[], None],
    read: Callable[..., Any],
    grants: list[str],
    channels: list[str],
) -> None:
    market = subscribed("market", "catalog.*")
    granted = client.put(
        "/api/events/v1/subscriptions/market/grants",
        json={"grants": grants},
        headers=token("events:operate"),
    )
    assert granted.status_code == 200

    sell()

    answer = read(market)
    assert prices_in(answer) == channels
    assert [each["position"] for each in answer["events"]] == [*range(1, len(channels) + 2)]


def test_a_partner_hears_of_quantities_without_a_grant_if_it_asks(
    subscribed: Callable[..., Headers], sell: Callable[[], None], read: Callable[..., Any]
) -> None:
    asking = subscribed("market", AvailabilityChanged.routing_key)
    other = subscribed("shop")

    sell()

    (entry,) = read(asking)["events"]
    assert entry["event"]["data"]["quantity"] == 500
    assert read(other)["events"] == []
