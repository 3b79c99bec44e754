"""A partner's own number of an order: a placement with it is one order for good."""

import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError

from services.orders.batch import OrdersBatch
from services.orders.models import Order
from services.orders.use_cases import place as placing
from shared.events import PriceChanged, SiteClosed
from shared.runtime.config import Settings
from shared.runtime.database import Database
from tests.orders.reading import ORDERS, Builder, Recorded, Token, count_of_orders, types_of
from tests.support.together import send_together

PARTNER = ("orders:place", "orders:place_for", "orders:read")


class Market:
    """A partner that places orders with its own numbers, each time with a new Idempotency-Key."""

    def __init__(self, app: Flask, token: Token, an_order: Builder) -> None:
        self.app, self._token, self._an_order = app, token, an_order

    def headers(self, subject: str = "market") -> dict[str, str]:
        """Return a token of a partner and a new key."""
        return self._token(*PARTNER, subject=subject)

    def place(
        self, external_ref: str | None = "SO-1", subject: str = "market", **changes: Any
    ) -> Any:
        """Place an order; return the whole answer."""
        body = self._an_order(external_ref=external_ref, **changes)
        return self.app.test_client().post(ORDERS, json=body, headers=self.headers(subject))

    def list(self, subject: str = "market", **query: str) -> list[dict[str, Any]]:
        """Return the first page of the partner's orders."""
        headers = self.headers(subject)
        answer = self.app.test_client().get(ORDERS, query_string=query, headers=headers)
        assert answer.status_code == 200, answer.text
        return list(answer.json["items"])


@pytest.fixture
def market(client: FlaskClient, token: Token, an_order: Builder) -> Market:
    """A partner of the service under test."""
    return Market(client.application, token, an_order)


def test_an_order_has_its_partners_number_in_answers_and_in_every_fact(
    market: Market, reserve: Any, provider: Any, recorded_events: Recorded
) -> None:
    order = market.place(payment_method="prepaid").json
    reserve(order)
    provider(order)

    assert (order["partner"], order["external_ref"]) == ("market", "SO-1")
    (listed,) = market.list()
    assert (listed["partner"], listed["external_ref"]) == ("market", "SO-1")
    facts = recorded_events()[1:]
    assert types_of(facts) == ["order_placed", "payment_requested", "order_paid", "order_confirmed"]
    assert {fact["external_ref"] for _, fact in facts} == {"SO-1"}


def test_the_same_number_is_the_same_order_whatever_the_key(
    market: Market, database: Database, recorded_events: Recorded
) -> None:
    first = market.place()

    again = market.place()

    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json == first.json
    assert again.headers["Location"] == first.headers["Location"]
    assert "Idempotency-Replayed" not in again.headers
    assert count_of_orders(database) == 1
    assert len(recorded_events()) == 2


def test_a_retry_after_the_decision_gets_the_present_order(market: Market, reserve: Any) -> None:
    order = market.place().json
    reserve(order)

    again = market.place()

    assert (again.status_code, again.json["state"]) == (200, "confirmed")
    assert again.json["order_id"] == order["order_id"]


def test_a_retry_is_answered_when_the_order_would_now_be_refused(
    market: Market, deliver: Any, site_id: UUID, variant_id: UUID, a_price: Builder
) -> None:
    lines = [{"variant_id": str(variant_id), "quantity": 1000, "line_total_fen": 13_600}]
    order = market.place(lines=lines).json
    deliver(PriceChanged, **a_price(variant_id, price_fen=9900))
    deliver(SiteClosed, site_id=site_id)

    again = market.place(lines=lines)

    assert (again.status_code, again.json["order_id"]) == (202, order["order_id"])
    assert again.json["total_fen"] == 13_600
    assert market.place("SO-2", lines=lines).json["type"] == "/problems/site-is-closed"


def test_a_guests_secret_is_not_given_again(market: Market) -> None:
    first, again = market.place(buyer_id=None), market.place(buyer_id=None)

    assert first.json["guest_secret"] is not None
    assert again.json["guest_secret"] is None
    assert again.json["order_id"] == first.json["order_id"]


@pytest.mark.parametrize(
    "changes",
    [
        {"lines": 500},
        {"collect": True},
        {"payment_method": "prepaid"},
        {"buyer_id": "buyer-2"},
        {"buyer_id": None},
        {"contact": {"name": "扎西"}},
        {"contact": {"phone": "138 0013 8001"}},
        {"contact": {"address": "巴河镇2号"}},
    ],
)
def test_the_same_number_with_another_content_is_refused_and_names_the_order(
    market: Market,
    an_order: Builder,
    database: Database,
    recorded_events: Recorded,
    changes: dict[str, Any],
) -> None:
    first = market.place().json
    if "lines" in changes:
        changes = {"lines": [an_order()["lines"][0] | {"quantity": changes["lines"]}]}
    if "contact" in changes:
        changes = {"contact": an_order()["contact"] | changes["contact"]}

    other = market.place(**changes)

    assert (other.status_code, other.json["type"]) == (409, "/problems/external-ref-used")
    assert other.json["order_id"] == first["order_id"]
    assert other.json["order_ref"] == first["order_ref"]
    assert count_of_orders(database) == 1
    assert len(recorded_events()) == 2


def test_another_spelling_of_the_same_content_is_the_same_order(
    market: Market, an_order: Builder
) -> None:
    first = market.place(channel=None)
    contact = an_order()["contact"] | {"phone": "+8613800138000", "name": " 卓玛 "}

    again = market.place(channel="online", buyer_id="market:buyer-1", contact=contact)

    assert again.json == first.json


def test_two_partners_may_use_one_number(market: Market, database: Database) -> None:
    first, second = market.place(subject="market"), market.place(subject="other", collect=True)

    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json["order_id"] != second.json["order_id"]
    assert count_of_orders(database) == 2


def test_orders_without_a_number_are_one_each(market: Market, database: Database) -> None:
    market.place(None)
    market.place(None)

    assert count_of_orders(database) == 2


def test_a_refused_placement_leaves_its_number_free(market: Market, variant_id: UUID) -> None:
    wrong = [{"variant_id": str(variant_id), "quantity": 1000, "line_total_fen": 1}]

    refused = market.place(lines=wrong)

    assert refused.json["type"] == "/problems/price-changed"
    assert market.place().status_code == 202


@pytest.mark.parametrize("harness", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("scopes", "limited"),
    [(("orders:read",), False), (("orders:operate",), False), (("orders:place_for",), True)],
)
def test_only_a_partner_gives_orders_its_number(
    client: FlaskClient,
    token: Token,
    an_order: Builder,
    site_id: UUID,
    database: Database,
    scopes: tuple[str, ...],
    limited: bool,
) -> None:
    headers = token(
        "orders:place", *scopes, subject="buyer-1", sites=[site_id] if limited else None
    )

    answer = client.post(ORDERS, json=an_order(external_ref="SO-1"), headers=headers)

    assert (answer.status_code, answer.json["type"]) == (403, "/problems/not-a-partner")
    assert count_of_orders(database) == 0


@pytest.mark.parametrize("harness", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("external_ref", "problem"),
    [
        ("", "validation-failed"),
        ("卓玛", "validation-failed"),
        ("dolma@example.com", "validation-failed"),
        ("two words", "validation-failed"),
        ("-1", "validation-failed"),
        ("x" * 65, "validation-failed"),
        ("SO-1\n", "validation-failed"),
        (17, "validation-failed"),
        ("13800138000", "unfit-external-ref"),
        ("138/0013/8000", "unfit-external-ref"),
        ("tel:13800138000", "unfit-external-ref"),
        ("order#138-0013-8000", "unfit-external-ref"),
    ],
)
def test_a_number_that_must_not_be_published_is_refused(
    market: Market, database: Database, external_ref: Any, problem: str
) -> None:
    answer = market.place(external_ref)

    assert (answer.status_code, answer.json["type"]) == (422, f"/problems/{problem}")
    assert count_of_orders(database) == 0


@pytest.mark.parametrize("harness", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "external_ref", ["1", "S/2026-11/0012", "2026113012345678", "a.b_c:d|e#7", "x" * 64]
)
def test_order_numbers_of_other_systems_fit(market: Market, external_ref: str) -> None:
    assert market.place(external_ref).json["external_ref"] == external_ref
    assert [each["external_ref"] for each in market.list(external_ref=external_ref)] == [
        external_ref
    ]


def test_an_order_is_found_by_its_partners_number_or_its_beginning(
    market: Market, place: Any, ask: Callable[[str], Any]
) -> None:
    first, second = market.place("SO-1").json, market.place("SO_2").json
    theirs = market.place("SO-1", subject="other").json
    place()

    assert [each["order_id"] for each in market.list(external_ref="SO-1")] == [first["order_id"]]
    assert market.list(external_ref="SO") == []
    found = {each["order_id"] for each in ask("orders?external_ref=SO-1")["items"]}
    assert found == {first["order_id"], theirs["order_id"]}
    of_other = ask("orders?partner=other")["items"]
    assert [each["order_id"] for each in of_other] == [theirs["order_id"]]
    assert market.list(partner="other") == []
    by_prefix = [each["order_id"] for each in market.list(q="SO")]
    assert by_prefix == [second["order_id"], first["order_id"]]
    # _ is a letter here, not a wildcard.
    assert [each["order_id"] for each in market.list(q="SO_")] == [second["order_id"]]
    assert [each["order_id"] for each in market.list(q=second["order_ref"])] == [second["order_id"]]


def test_a_trace_names_the_partner_and_its_number(
    market: Market, ask: Callable[[str], Any]
) -> None:
    order = market.place().json

    state = ask(f"trace/{order['order_id']}")["state"]

    assert (state["partner"], state["external_ref"]) == ("market", "SO-1")


def test_one_number_at_once_in_two_processes_is_one_order(
    app_of: Callable[[Settings], Flask],
    app_settings: Settings,
    token: Token,
    an_order: Builder,
    in_threads: Callable[..., list[Any]],
    database: Database,
    recorded_events: Recorded,
) -> None:
    processes = [Market(app_of(app_settings), token, an_order) for _ in range(2)]

    def retry(number: int) -> list[Any]:
        return [processes[number % 2].place(f"SO-{each}") for each in range(5)]

    answers = in_threads([lambda number=number: retry(number) for number in range(8)])

    assert {answer.status_code for each in answers for answer in each} == {202}
    for same in zip(*answers, strict=True):
        assert len({answer.json["order_id"] for answer in same}) == 1
    assert count_of_orders(database) == 5
    assert types_of(recorded_events()).count("order_placed") == 5


def test_one_number_twice_in_a_group_is_one_order(
    market: Market, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, opened = threading.Event(), threading.Event()
    place_order = placing.place_order

    def hold(batch: OrdersBatch, placement: placing.Placement) -> placing.PlacedOrder:
        placed = place_order(batch, placement)
        if placement.external_ref == "held":
            inside.set()
            assert opened.wait(10)
        return placed

    monkeypatch.setattr(placing, "place_order", hold)

    answers = send_together(
        market.app,
        lambda: market.place("held"),
        [
            lambda: market.place("SO-1"),
            lambda: market.place("SO-1"),
            lambda: market.place("SO-1", collect=True),
            lambda: market.place("held"),
            lambda: market.place("SO-2"),
        ],
        inside=inside,
        opened=opened,
    )

    # Which of the contents comes first is not said; the others are told that it did.
    statuses = [answer.status_code for answer in answers]
    assert statuses in ([202, 202, 409, 202, 202], [409, 409, 202, 202, 202])
    assert count_of_orders(database) == 3


def test_the_database_itself_keeps_a_number_unique(market: Market, database: Database) -> None:
    market.place("SO-1")
    market.place("SO-2")

    with pytest.raises(IntegrityError), database.sessions.begin() as session:
        session.query(Order).filter(Order.external_ref == "SO-2").update({"external_ref": "SO-1"})


def test_a_number_costs_no_statement_for_each_order(market: Market) -> None:
    engine = market.app.extensions["farmgate"].database.engine
    seen: list[str] = []

    def note(*args: Any) -> None:
        seen.append(args[2])

    event.listen(engine, "before_cursor_execute", note)
    try:
        market.place(None)
        without = len(seen)
        market.place("SO-1")
    finally:
        event.remove(engine, "before_cursor_execute", note)

    locks = 0 if engine.dialect.name == "sqlite" else 1
    assert len(seen) - 2 * without == 1 + locks


def test_the_contact_of_an_order_cannot_be_guessed_from_another_with_the_same(
    market: Market, database: Database
) -> None:
    market.place("SO-1")
    market.place("SO-2")

    with database.readers() as reader:
        digests = reader.execute(text("SELECT request_digest FROM orders")).scalars().all()
    assert len({bytes(digest) for digest in digests}) == 2


def test_a_retry_waits_for_the_decision_as_it_prefers(market: Market, an_order: Builder) -> None:
    market.place()
    headers = market.headers() | {"Prefer": "wait=1"}

    body = an_order(external_ref="SO-1")
    again = market.app.test_client().post(ORDERS, json=body, headers=headers)

    assert (again.status_code, again.headers["Preference-Applied"]) == (202, "wait=1")


def test_a_number_is_kept_longer_than_any_stored_answer(
    market: Market, database: Database, an_order: Builder
) -> None:
    headers = market.headers() | {"Idempotency-Key": str(uuid4())}
    body = an_order(external_ref="SO-1")
    first = market.app.test_client().post(ORDERS, json=body, headers=headers)
    with database.sessions.begin() as session:
        assert session.execute(text("DELETE FROM idempotency_keys")).rowcount == 1

    again = market.app.test_client().post(ORDERS, json=body, headers=headers)

    assert (again.status_code, again.json) == (202, first.json)
    assert count_of_orders(database) == 1
