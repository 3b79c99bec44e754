"""For whom and over which channel an order is placed: the token says it, not the body."""

from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from shared.events import PriceChanged
from shared.runtime import keys
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.ids import new_id
from tests.orders.reading import ORDERS, Builder, Place, Recorded, Token, count_of_orders

pytestmark = pytest.mark.parametrize("harness", ["sqlite"], indirect=True)


@pytest.fixture
def order(client: FlaskClient, an_order: Builder) -> Any:
    """Place an order with the headers given; returns the whole answer."""

    def do(headers: dict[str, str], **changes: Any) -> Any:
        return client.post(ORDERS, json=an_order(**changes), headers=headers)

    return do


def test_a_buyer_orders_for_itself_whether_or_not_the_body_says_so(
    order: Any, token: Token, recorded_events: Recorded
) -> None:
    buyer = {"subject": "buyer-1"}
    said = order(token("orders:place", **buyer))
    unsaid = order(token("orders:place", **buyer), buyer_id=None)

    assert [a.json["buyer_id"] for a in (said, unsaid)] == ["buyer-1", "buyer-1"]
    assert unsaid.json["guest_secret"] is None
    assert {data["buyer_id"] for _, data in recorded_events()} == {"buyer-1"}


def test_nobody_orders_in_another_buyers_name(
    order: Any, token: Token, database: Database, recorded_events: Recorded
) -> None:
    answer = order(token("orders:place", subject="mallory"), buyer_id="buyer-1")

    assert (answer.status_code, answer.json["type"]) == (403, "/problems/not-your-buyer")
    assert count_of_orders(database) == 0
    assert recorded_events() == []


@pytest.mark.parametrize("channel", ["company", "station", "cooperative"])
def test_a_buyers_token_gets_no_other_channels_price(
    order: Any, token: Token, deliver: Any, a_price: Builder, variant_id: Any, channel: str
) -> None:
    deliver(PriceChanged, **a_price(variant_id, channel=channel, price_fen=1))

    refused = order(token("orders:place", subject="buyer-1"), channel=channel)
    allowed = order(token("orders:place", f"channel:{channel}", subject="buyer-1"), channel=channel)

    assert (refused.status_code, refused.json["type"]) == (403, "/problems/not-your-channel")
    assert f"channel:{channel}" in refused.json["detail"]
    assert (allowed.status_code, allowed.json["total_fen"]) == (202, 2)


def test_a_channel_that_is_left_out_is_the_tokens_own(
    order: Any, token: Token, deliver: Any, a_price: Builder, variant_id: Any
) -> None:
    deliver(PriceChanged, **a_price(variant_id, channel="company", price_fen=1))

    buyer = order(token("orders:place", subject="buyer-1"), channel=None)
    company = order(token("orders:place", "channel:company", subject="buyer-1"), channel=None)
    astray = order(token("orders:place", "channel:company", subject="buyer-1"), channel="online")

    assert [a.json["channel"] for a in (buyer, company)] == ["online", "company"]
    assert astray.json["type"] == "/problems/not-your-channel"


def test_a_shops_buyers_are_its_own_and_never_somebody_elses(
    client: FlaskClient, order: Any, token: Token
) -> None:
    scopes = ("orders:place", "orders:place_for", "orders:read")
    shop, other = ({"subject": name} for name in ("shop", "other"))
    placed = order(token(*scopes, **shop), buyer_id="dolma").json

    again = order(token(*scopes, **shop), buyer_id=placed["buyer_id"]).json
    others = order(token(*scopes, **other), buyer_id="shop:dolma").json
    guest = order(token(*scopes, **shop), buyer_id=None).json

    assert placed["buyer_id"] == again["buyer_id"] == "shop:dolma"
    assert others["buyer_id"] == "other:shop:dolma"
    assert (guest["buyer_id"], bool(guest["guest_secret"])) == (None, True)
    for filter_ in ("dolma", "shop:dolma"):
        mine = client.get(f"{ORDERS}?buyer_id={filter_}", headers=token(*scopes, **shop)).json
        assert {o["order_id"] for o in mine["items"]} == {placed["order_id"], again["order_id"]}
    namesake = client.get(ORDERS, headers=token("orders:read", subject="dolma")).json
    assert namesake["items"] == []


def test_an_operator_orders_for_anybody_over_any_channel(place: Place, a_price: Builder) -> None:
    assert place(buyer_id="anybody")["buyer_id"] == "anybody"


@pytest.mark.parametrize("scopes", [("orders:operate",), ("orders:place_for",)])
@pytest.mark.parametrize(
    "buyer_id", ["13800138000", "8613800138000", "138-0013-8000", "tel:13800138000"]
)
def test_a_telephone_number_is_no_buyers_id(
    order: Any, token: Token, recorded_events: Recorded, buyer_id: str, scopes: tuple[str]
) -> None:
    answer = order(token("orders:place", *scopes, subject="shop"), buyer_id=buyer_id)

    assert (answer.status_code, answer.json["type"]) == (422, "/problems/unfit-buyer")
    assert recorded_events() == []


@pytest.mark.parametrize("subject", ["13800138000", "dolma@example.com", "卓玛", "x" * 65])
def test_a_subject_that_must_not_be_published_places_no_order(
    order: Any, token: Token, recorded_events: Recorded, subject: str
) -> None:
    answer = order(token("orders:place", subject=subject), buyer_id=None)

    assert (answer.status_code, answer.json["type"]) == (422, "/problems/unfit-buyer")
    assert recorded_events() == []


@pytest.mark.parametrize("scopes", [("orders:place_for", "channel:station"), ("orders:operate",)])
def test_a_clerk_orders_for_the_own_site_alone(
    order: Any,
    app_settings: Settings,
    deliver: Any,
    site_id: UUID,
    a_price: Builder,
    variant_id: UUID,
    recorded_events: Recorded,
    scopes: tuple[str, ...],
) -> None:
    deliver(PriceChanged, **a_price(variant_id, channel="station"))

    def place(*sites: UUID) -> Any:
        signed = keys.issue_token(
            app_settings.data, "clerk", ("orders:place", *scopes), 600, site_ids=sites
        )
        headers = {"Authorization": f"Bearer {signed}", "Idempotency-Key": str(new_id())}
        return order(headers, channel="station", buyer_id=None)

    elsewhere, here = place(new_id()), place(new_id(), site_id)

    assert (elsewhere.status_code, elsewhere.json["type"]) == (403, "/problems/not-your-site")
    assert here.status_code == 202
    assert len(recorded_events()) == 2
