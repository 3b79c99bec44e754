"""Orders that a partner places for its own buyers: their facts name the partner."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from flask.testing import FlaskClient

from services.orders.rules import callers
from services.orders.rules.callers import UnfitPartner, partner_of
from services.orders.rules.external_refs import request_digest
from shared.events import BY_TYPE, OrderFact
from shared.runtime.callers import Caller
from tests.orders.reading import ORDERS, Builder, Place, Recorded, Token, types_of

PLACE_FOR = frozenset({"orders:place", callers.OWN_BUYERS})


@pytest.mark.parametrize(
    ("caller", "partner"),
    [
        (Caller("market", PLACE_FOR), "market"),
        (Caller("market", PLACE_FOR | {"channel:company"}), "market"),
        (Caller("buyer-1", frozenset({"orders:place"})), None),
        (Caller("operator", PLACE_FOR | {callers.ANY_BUYER}), None),
        (Caller("clerk", PLACE_FOR, sites=frozenset({uuid4()})), None),
        (Caller("nobody", PLACE_FOR, sites=frozenset()), None),
    ],
)
def test_a_partner_orders_for_its_own_buyers_and_belongs_to_no_site(
    caller: Caller, partner: str | None
) -> None:
    assert partner_of(caller) == partner


@pytest.mark.parametrize(
    "subject", ["13800138000", "tel:13800138000", "dolma@example.com", "卓玛", "x" * 65, ""]
)
def test_a_subject_that_must_not_be_published_is_no_partners(subject: str) -> None:
    with pytest.raises(UnfitPartner):
        partner_of(Caller(subject, PLACE_FOR))


@pytest.mark.parametrize("harness", ["sqlite"], indirect=True)
def test_a_partner_with_an_unfit_subject_places_no_order_even_for_a_guest(
    client: FlaskClient, token: Token, an_order: Builder, recorded_events: Recorded
) -> None:
    headers = token("orders:place", "orders:place_for", subject="13800138000")

    answer = client.post(ORDERS, json=an_order(buyer_id=None), headers=headers)

    assert (answer.status_code, answer.json["type"]) == (403, "/problems/unfit-partner")
    assert recorded_events() == []


def test_every_fact_of_a_partners_order_names_the_partner(
    client: FlaskClient,
    token: Token,
    an_order: Builder,
    reserve: Any,
    provider: Any,
    recorded_events: Recorded,
) -> None:
    headers = token("orders:place", "orders:place_for", subject="market")
    order = client.post(ORDERS, json=an_order(payment_method="prepaid"), headers=headers).json
    reserve(order)
    provider(order, status="failed")
    provider(order)

    cancelled = client.post(
        f"{ORDERS}/{order['order_id']}/cancel",
        json={"reason": "changed_mind"},
        headers=token("orders:place", subject="market"),
    )

    assert cancelled.status_code == 200
    contact, *facts = recorded_events()
    assert types_of(facts) == [
        "order_placed",
        "payment_requested",
        "payment_failed",
        "order_paid",
        "order_confirmed",
        "order_cancelled",
        "payment_refunded",
    ]
    assert {fact["partner"] for _, fact in facts} == {"market"}
    assert "partner" not in contact[1]


def test_the_facts_of_other_orders_name_no_partner(
    place: Place, reserve: Any, recorded_events: Recorded
) -> None:
    reserve(place())

    assert types_of(recorded_events()) == ["contact_given", "order_placed", "order_confirmed"]
    assert not any("partner" in fact or "external_ref" in fact for _, fact in recorded_events())


def test_an_order_that_waits_for_approval_names_its_partner(
    client: FlaskClient,
    token: Token,
    an_order: Builder,
    recorded_events: Recorded,
    variant_id: UUID,
) -> None:
    lines = [{"variant_id": str(variant_id), "quantity": 900_000}]
    headers = token("orders:place", "orders:place_for", subject="market")

    order = client.post(ORDERS, json=an_order(lines=lines), headers=headers).json

    assert order["awaits_approval"] is True
    (type_, requested) = recorded_events()[-1]
    assert (type_, requested["partner"]) == ("orders.approval_requested.v1", "market")


def test_every_public_fact_of_orders_about_an_order_can_name_its_partner() -> None:
    of_orders = [
        contract
        for type_, contract in BY_TYPE.items()
        if type_.startswith("orders.") and contract.subject == "order_id" and contract.public
    ]

    assert len(of_orders) == 14
    assert all(issubclass(contract, OrderFact) for contract in of_orders)


ORDERED: dict[str, Any] = {
    "channel": "online",
    "lines": [{"variant_id": uuid4(), "quantity": 500, "line_total_fen": None}],
    "contact": {"name": "卓玛", "phone": "+8613800138000", "address": None},
    "buyer_id": None,
}


def test_requests_with_the_same_content_have_one_digest() -> None:
    order_id = uuid4()
    turned = dict(reversed(ORDERED.items()))
    # A later version may know more fields, which this request does not give.
    newer = ORDERED | {"coupon": None, "lines": [ORDERED["lines"][0] | {"note": None}]}

    digests = {request_digest(order_id, each) for each in (ORDERED, turned, newer)}

    assert len(digests) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"channel": "company"},
        {"lines": []},
        {"lines": ORDERED["lines"] * 2},
        {"lines": [ORDERED["lines"][0] | {"line_total_fen": 1}]},
        {"contact": ORDERED["contact"] | {"address": "巴河镇1号"}},
        {"buyer_id": "dolma"},
    ],
)
def test_another_content_has_another_digest(changes: dict[str, Any]) -> None:
    order_id = uuid4()

    assert request_digest(order_id, ORDERED | changes) != request_digest(order_id, ORDERED)
    assert request_digest(order_id, ORDERED) != request_digest(uuid4(), ORDERED)
