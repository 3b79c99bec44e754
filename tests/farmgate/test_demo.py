"""The demo's plan is the same everywhere, and its accounts find every gram."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from demo import books, planning
from demo.books import Stock
from demo.living import Lived
from demo.planning import Offer, PlannedOrder
from demo.stories import STORIES, WAITING, Goods, Story

OFFERS = [Offer(f"id-{n}", f"SKU-{n}", 500, 1_000_000) for n in range(20)]
SITES = ["site-1", "site-2", "site-3"]


def nameless(orders: list[PlannedOrder]) -> list[tuple[Any, ...]]:
    return [
        (
            order.story,
            [(line["variant_id"][-2:], line["quantity"]) for line in order.request["lines"]],
        )
        for order in orders
    ]


def test_the_same_seed_plans_the_same_orders_where_ids_differ() -> None:
    elsewhere = [replace(offer, variant_id="x" + offer.variant_id) for offer in OFFERS]

    here = planning.plan(1, 200, OFFERS, SITES)
    there = planning.plan(1, 200, elsewhere, ["y1", "y2", "y3"])

    assert nameless(here) == nameless(there)
    assert nameless(here) != nameless(planning.plan(2, 200, OFFERS, SITES))


def test_two_hundred_orders_hold_every_story_and_every_channel() -> None:
    orders = planning.plan(1, 200, OFFERS, SITES)

    told = Counter(order.story.title for order in orders)
    assert told == {story.title: story.share * 2 for story in STORIES}
    assert {order.request["channel"] for order in orders} == set(planning.CHANNELS)
    methods = {order.request["payment_method"] for order in orders}
    assert methods == {"prepaid", "cash_on_delivery", "cash_at_station"}
    assert any(len(order.request["lines"]) > 4 for order in orders)


def test_the_shares_make_a_hundred() -> None:
    assert sum(story.share for story in STORIES) == 100


@pytest.mark.parametrize("total", [0, 1, 7, 99, 200])
def test_shares_sum_exactly(total: int) -> None:
    assert sum(planning.shares(total, [20, 14, 1, 3])) == total


def test_only_the_excessive_orders_ask_for_more_than_there_is() -> None:
    orders = planning.plan(1, 200, OFFERS, SITES)

    assert planning.shortages(orders, OFFERS) == {}
    for order in orders:
        most = max(order.quantities.values())
        assert (most > 1_000_000) == order.story.excessive
        assert all(quantity % 500 == 0 for quantity in order.quantities.values())


def test_too_little_stock_is_named() -> None:
    orders = planning.plan(1, 200, OFFERS, SITES)

    scarce = [replace(OFFERS[0], available=500), *OFFERS[1:]]

    assert list(planning.shortages(orders, scarce)) == ["SKU-0"]


def lived(story: Story, quantity: int = 500) -> Lived:
    request = {"lines": [{"variant_id": "id-0", "quantity": quantity}]}
    return Lived(PlannedOrder(1, story, request), story, state=story.ending)


def stock(**accounts: int) -> dict[str, Stock]:
    return {"id-0": Stock("SKU-0", {name: accounts.get(name, 0) for name in books.ACCOUNTS}, True)}


BEFORE = stock(on_hand=5000, available=5000)


@pytest.mark.parametrize(
    ("goods", "after"),
    [
        (Goods.FREE, stock(on_hand=5000, available=5000)),
        (Goods.RESERVED, stock(on_hand=5000, available=4500, reserved=500)),
        (Goods.COMMITTED, stock(on_hand=5000, available=4500, committed=500)),
        (Goods.GONE, stock(on_hand=4500, available=4500)),
    ],
)
def test_the_stock_follows_from_the_outcomes(goods: Goods, after: dict[str, Stock]) -> None:
    assert books.differences(BEFORE, after, [lived(replace(WAITING, goods=goods))]) == []


def test_a_gram_too_few_is_found_and_named() -> None:
    wrong = books.differences(BEFORE, stock(on_hand=4999, available=4999), [])

    assert wrong == [
        "SKU-0: on_hand is 4999, but by the orders it must be 5000",
        "SKU-0: available is 4999, but by the orders it must be 5000",
    ]


def test_what_catalog_finds_unbalanced_is_no_balance() -> None:
    after = {"id-0": replace(BEFORE["id-0"], balanced=False)}

    assert books.differences(BEFORE, after, []) == ["SKU-0: catalog's ledger and balances disagree"]
