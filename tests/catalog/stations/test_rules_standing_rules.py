"""What standing rules grant, and what is asked back before it spoils."""

from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.rules import (
    RETURN_DAYS,
    Need,
    Perishing,
    Rate,
    asked_back,
    rate_of,
    share,
)

TODAY = date(2026, 8, 20)
PACK = 10


def on(days: int) -> date:
    """Return the date that many days from today."""
    return TODAY + timedelta(days=days)


@dataclass(eq=False)
class Pickable:
    """Some of a lot at a place."""

    name: str
    available: int
    sell_by: date | None = None


def granted(
    needs: list[Need], shelved: list[Pickable], own: dict[UUID, list[Pickable]] | None = None
) -> dict[tuple[UUID, str], int]:
    """Return what each site is granted of what; all share `shelved`, after what is their own."""
    shelves = {need.site_id: [*(own or {}).get(need.site_id, ()), *shelved] for need in needs}
    lots = {
        id(each): (UUID(int=n), each.sell_by)
        for n, each in enumerate({id(s): s for shelf in shelves.values() for s in shelf}.values())
    }
    grants = share(needs, shelves, lots, PACK, TODAY)
    found = {(each.site_id, each.source.name): each.quantity for each in grants}
    assert len(found) == len(grants)
    return found


ONE, TWO = UUID(int=1), UUID(int=2)


# --- How fast a site sells -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sold", "first_days_ago", "rate"),
    [
        (0, None, None),
        (0, 0, None),
        (0, 12, None),
        (0, 13, Rate(0, 14)),
        (0, 100, Rate(0, 14)),
        (70, 0, Rate(70, 1)),
        (70, 6, Rate(70, 7)),
        (70, 100, Rate(70, 14)),
        # More came back than was sold.
        (-5, 100, Rate(0, 14)),
        (-5, 3, None),
    ],
)
def test_a_site_is_judged_by_the_days_it_had_the_goods(
    sold: int, first_days_ago: int | None, rate: Rate | None
) -> None:
    first = None if first_days_ago is None else on(-first_days_ago)

    assert rate_of(sold, first, TODAY) == rate


@pytest.mark.parametrize(
    ("rate", "days", "quantity"),
    [(Rate(70, 14), 0, 5), (Rate(70, 14), 1, 10), (Rate(1, 14), 12, 0), (Rate(70, 7), -1, 0)],
)
def test_today_is_a_day_of_sale(rate: Rate, days: int, quantity: int) -> None:
    assert rate.until(on(days), TODAY) == quantity


# --- What is granted --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keep", "there", "central", "quantity"),
    [
        (100, 0, 1000, 100),
        (100, 60, 1000, 40),
        (100, 61, 1000, 30),  # whole packs, and never above what is kept
        (100, 95, 1000, 0),
        (100, 130, 1000, 0),
        (100, 0, 35, 30),
        (100, 0, 9, 0),
        (105, 0, 1000, 100),
    ],
)
def test_what_is_missing_is_granted_in_whole_packs_while_the_centre_has_some(
    keep: int, there: int, central: int, quantity: int
) -> None:
    need = Need(ONE, keep, None, [(None, there)])

    found = granted([need], [Pickable("centre", central)])

    assert sum(found.values()) == quantity


def test_the_shelf_is_taken_in_its_order() -> None:
    own = {ONE: [Pickable("own", 25)]}

    found = granted([Need(ONE, 100, None)], [Pickable("first", 30), Pickable("then", 90)], own)

    assert found == {(ONE, "own"): 20, (ONE, "first"): 30, (ONE, "then"): 50}


def test_a_site_does_not_get_another_ones_own_stock() -> None:
    own = {ONE: [Pickable("own", 100)]}

    assert granted([Need(TWO, 100, None)], [], own) == {}


def test_a_first_grant_is_not_held_back_by_a_missing_history() -> None:
    found = granted([Need(ONE, 100, None)], [Pickable("fresh", 500, on(2))])

    assert found == {(ONE, "fresh"): 100}


def test_a_perishable_lot_is_granted_only_as_far_as_it_sells_in_time() -> None:
    need = Need(ONE, 1000, Rate(140, 14))  # ten a day

    found = granted([need], [Pickable("old", 900, on(2)), Pickable("young", 900, on(9))])

    # Today and two days more: thirty of the old. By the tenth day a hundred in all.
    assert found == {(ONE, "old"): 30, (ONE, "young"): 70}


def test_what_is_there_is_sold_first() -> None:
    need = Need(ONE, 1000, Rate(140, 14), [(on(1), 20), (on(9), 60)])

    found = granted([need], [Pickable("old", 900, on(2)), Pickable("dry", 50)])

    # Ten more of the old are sold by its day, and the sixty still by theirs.
    assert found == {(ONE, "old"): 10, (ONE, "dry"): 50}


def test_a_site_that_sold_nothing_may_try_one_pack() -> None:
    shelf = [Pickable("fresh", 500, on(2))]

    assert granted([Need(ONE, 100, Rate(0, 14))], shelf) == {(ONE, "fresh"): 10}
    assert granted([Need(ONE, 100, Rate(0, 14), [(on(1), 10)])], shelf) == {}


def test_what_was_given_back_is_not_granted_again() -> None:
    need = Need(ONE, 100, None, refused=frozenset({UUID(int=0)}))

    assert granted([need], [Pickable("back", 500), Pickable("other", 30)]) == {(ONE, "other"): 30}


def test_the_site_with_the_least_cover_is_served_first() -> None:
    slow = Need(ONE, 100, Rate(14, 14), [(None, 20)])  # twenty days
    quick = Need(TWO, 100, Rate(140, 14), [(None, 50)])  # five days

    found = granted([slow, quick], [Pickable("rest", 30)])

    assert found == {(TWO, "rest"): 30}


def test_sites_that_lack_the_same_share_what_there_is() -> None:
    needs = [Need(ONE, 80, None), Need(TWO, 80, None)]

    found = granted(needs, [Pickable("rest", 60)])

    assert found == {(ONE, "rest"): 30, (TWO, "rest"): 30}


def test_a_million_packs_take_no_million_steps() -> None:
    needs = [Need(UUID(int=n), 10_000_000_000, None) for n in range(1, 30)]

    found = granted(needs, [Pickable("centre", 10**12)])

    assert set(found.values()) == {10_000_000_000}


LOTS = st.lists(
    st.tuples(st.integers(0, 300), st.none() | st.integers(0, 12)), min_size=1, max_size=5
)
RATES = st.none() | st.builds(Rate, st.integers(0, 400), st.integers(1, 14))
NEEDS = st.lists(
    st.tuples(
        st.integers(PACK, 400),
        RATES,
        st.lists(st.tuples(st.none() | st.integers(0, 12), st.integers(0, 150)), max_size=3),
    ),
    min_size=1,
    max_size=4,
)


@given(LOTS, NEEDS)
def test_standing_rules_never_grant_too_much(
    lots: list[tuple[int, int | None]],
    wishes: list[tuple[int, Rate | None, list[tuple[int | None, int]]]],
) -> None:
    shelf = [
        Pickable(str(n), quantity, None if days is None else on(days))
        for n, (quantity, days) in enumerate(lots)
    ]
    needs = [
        Need(uuid4(), keep, rate, [(None if d is None else on(d), q) for d, q in stock])
        for keep, rate, stock in wishes
    ]

    found = granted(needs, shelf)

    taken = Counter[str]()
    for (_, name), quantity in found.items():
        assert quantity > 0 and quantity % PACK == 0
        taken[name] += quantity
    for each in shelf:
        assert taken[each.name] <= each.available
    for need in needs:
        mine = {name: q for (site, name), q in found.items() if site == need.site_id}
        there = sum(quantity for _, quantity in need.stock)
        assert sum(mine.values()) <= max(0, need.keep - there)
        after = [*need.stock, *((each.sell_by, mine.get(each.name, 0)) for each in shelf)]
        for day in {by for by, _ in after if by is not None}:
            due_before = sum(q for by, q in need.stock if by is not None and by <= day)
            due = sum(q for by, q in after if by is not None and by <= day)
            sells = need.keep if need.rate is None else need.rate.until(day, TODAY)
            assert due <= max(due_before, sells, PACK)


@given(NEEDS)
def test_with_enough_that_keeps_every_site_gets_all_it_lacks(
    wishes: list[tuple[int, Rate | None, list[tuple[int | None, int]]]],
) -> None:
    needs = [
        Need(uuid4(), keep, rate, [(None if d is None else on(d), q) for d, q in stock])
        for keep, rate, stock in wishes
    ]

    found = granted(needs, [Pickable("dry", 10**9)])

    for need in needs:
        lacking = need.keep - sum(quantity for _, quantity in need.stock)
        assert found.get((need.site_id, "dry"), 0) == max(0, lacking) // PACK * PACK


# --- What is asked back -----------------------------------------------------------------------

X, Y = UUID(int=10), UUID(int=11)


@pytest.mark.parametrize(
    ("days_left", "rate", "wanted"),
    [
        (9, Rate(0, 14), 0),  # too early to say
        (3, Rate(14, 14), 0),
        (2, Rate(14, 14), 97),  # three of a hundred sell by then
        (1, Rate(14, 14), 98),
        (2, Rate(9999, 14), 0),
        (0, Rate(9999, 14), 100),  # on the last day everything
        (-1, Rate(9999, 14), 100),
        (2, None, 0),
        (0, None, 100),
    ],
)
def test_what_will_not_sell_is_asked_back_in_time(
    days_left: int, rate: Rate | None, wanted: int
) -> None:
    held = [Perishing(X, on(days_left), 100)]

    assert asked_back(held, rate, TODAY) == {X: wanted}


def test_what_expires_first_is_sold_first() -> None:
    held = [Perishing(Y, on(2), 20), Perishing(X, on(1), 15)]

    # Ten a day: fifteen of the first by tomorrow, and fifteen of the other the day after.
    assert asked_back(held, Rate(10, 1), TODAY) == {X: 0, Y: 5}


HELD = st.lists(st.tuples(st.integers(-3, 12), st.integers(0, 200)), max_size=6)


@given(HELD, RATES)
def test_no_more_is_asked_back_than_is_left_and_nothing_early(
    held: list[tuple[int, int]], rate: Rate | None
) -> None:
    perishing = [Perishing(UUID(int=n), on(d), q) for n, (d, q) in enumerate(held)]

    wanted = asked_back(perishing, rate, TODAY)

    for each in perishing:
        asked, days = wanted[each.allotment_id], (each.sell_by - TODAY).days
        assert 0 <= asked <= each.remaining
        if days <= 0:
            assert asked == each.remaining
        if days > RETURN_DAYS:
            assert asked == 0


@given(st.integers(1, 12), st.integers(1, 400), st.builds(Rate, st.integers(0, 400), st.just(14)))
def test_what_a_rule_has_just_granted_is_not_asked_back_at_once(
    days: int, keep: int, rate: Rate
) -> None:
    need = Need(ONE, keep, rate)
    found = granted([need], [Pickable("lot", 10**6, on(days))])

    quantity = sum(found.values())
    wanted = asked_back([Perishing(X, on(days), quantity)], rate, TODAY)

    # But for the one pack that may always be tried.
    assert wanted[X] == 0 or quantity == PACK
