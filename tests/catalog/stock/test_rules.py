"""Rules of lots, reservations and the ledger, over plain values."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.rules import (
    MOST_LOTS,
    Account,
    Bucket,
    ImpossibleDates,
    LotStatus,
    ReservationStatus,
    ShortLine,
    WantedLine,
    WrongLotState,
    WrongReservationState,
    best_before_of,
    check_dates,
    check_reservation_step,
    free_bucket,
    is_balanced,
    keeps,
    lot_step,
    picking_key,
    plan,
)
from shared.events import OrderConfirmed, StockReserved
from shared.messaging.envelope import LARGEST, encode, fact_of

VARIANTS = [UUID(int=number) for number in range(4)]
DAY = date(2025, 7, 31)


@dataclass
class OnShelf:
    """One lot at one location."""

    name: str
    available: int


def a_line(quantity: int, line_no: int = 1, variant: int = 0) -> WantedLine:
    return WantedLine(line_no, VARIANTS[variant], quantity)


def takes(lines: list[WantedLine], shelf: list[OnShelf]) -> list[tuple[int, str, int]]:
    taken, _ = plan(lines, {VARIANTS[0]: shelf})
    return [(take.line.line_no, take.source.name, take.quantity) for take in taken]


# --- Which lots an order takes --------------------------------------------------------------


def test_a_line_takes_the_first_lot_of_the_shelf() -> None:
    shelf = [OnShelf("first", 10), OnShelf("second", 10)]

    assert takes([a_line(4)], shelf) == [(1, "first", 4)]


def test_a_line_goes_on_to_the_next_lot_when_one_is_not_enough() -> None:
    shelf = [OnShelf("first", 3), OnShelf("empty", 0), OnShelf("second", 10)]

    assert takes([a_line(5)], shelf) == [(1, "first", 3), (1, "second", 2)]


def test_two_lines_on_one_variant_take_no_more_than_there_is() -> None:
    taken, shortfalls = plan([a_line(6, 1), a_line(6, 2)], {VARIANTS[0]: [OnShelf("only", 10)]})

    assert taken == []
    assert shortfalls == [ShortLine(a_line(6, 2), 4)]


def test_two_lines_on_one_variant_share_what_there_is() -> None:
    lines = [a_line(6, 1), a_line(4, 2)]

    assert takes(lines, [OnShelf("only", 10)]) == [(1, "only", 6), (2, "only", 4)]


def test_one_short_line_leaves_the_other_lines_with_nothing() -> None:
    shelves = {VARIANTS[0]: [OnShelf("much", 100)], VARIANTS[1]: [OnShelf("little", 1)]}

    taken, shortfalls = plan([a_line(5), a_line(2, 2, variant=1)], shelves)

    assert taken == []
    assert shortfalls == [ShortLine(a_line(2, 2, variant=1), 1)]


def test_a_variant_nobody_has_is_short_by_all_of_it() -> None:
    assert plan([a_line(5)], {}) == ([], [ShortLine(a_line(5), 0)])


def test_planning_changes_no_balance() -> None:
    shelf = [OnShelf("first", 10)]

    plan([a_line(4)], {VARIANTS[0]: shelf})

    assert shelf[0].available == 10


def test_an_order_takes_from_as_many_lots_as_an_event_can_hold() -> None:
    shelf = [OnShelf(str(number), 1) for number in range(MOST_LOTS + 1)]

    taken, _ = plan([a_line(MOST_LOTS)], {VARIANTS[0]: shelf})

    assert len(taken) == MOST_LOTS


def test_an_order_that_needs_more_lots_than_an_event_can_hold_is_short() -> None:
    shelf = [OnShelf(str(number), 1) for number in range(MOST_LOTS + 1)]

    _, shortfalls = plan([a_line(MOST_LOTS + 1)], {VARIANTS[0]: shelf})

    assert shortfalls == [ShortLine(a_line(MOST_LOTS + 1), MOST_LOTS)]


quantities = st.integers(min_value=1, max_value=50)
shelves_of_goods = st.dictionaries(
    st.sampled_from(VARIANTS),
    st.lists(st.builds(OnShelf, st.just("lot"), st.integers(min_value=0, max_value=60))),
)
orders = st.lists(st.tuples(st.sampled_from(VARIANTS), quantities), min_size=1, max_size=12).map(
    lambda wanted: [
        WantedLine(no, variant, amount) for no, (variant, amount) in enumerate(wanted, 1)
    ]
)


@given(lines=orders, shelves=shelves_of_goods)
def test_a_plan_takes_all_of_every_line_or_nothing_at_all(
    lines: list[WantedLine], shelves: dict[UUID, list[OnShelf]]
) -> None:
    taken, shortfalls = plan(lines, shelves)

    if shortfalls:
        assert taken == []
        assert all(0 <= short.available < short.line.quantity for short in shortfalls)
    else:
        for line in lines:
            assert sum(t.quantity for t in taken if t.line is line) == line.quantity
    assert all(take.quantity > 0 for take in taken)


@given(lines=orders, shelves=shelves_of_goods)
def test_a_plan_never_takes_more_from_a_lot_than_is_there(
    lines: list[WantedLine], shelves: dict[UUID, list[OnShelf]]
) -> None:
    taken, _ = plan(lines, shelves)

    for variant, shelf in shelves.items():
        for shelved in shelf:
            here = [take for take in taken if take.source is shelved]
            assert sum(take.quantity for take in here) <= shelved.available
            assert all(take.line.variant_id == variant for take in here)


@given(lines=orders, shelves=shelves_of_goods)
def test_a_plan_refuses_exactly_when_some_variant_has_too_little(
    lines: list[WantedLine], shelves: dict[UUID, list[OnShelf]]
) -> None:
    _, shortfalls = plan(lines, shelves)

    wanted = {line.variant_id for line in lines}
    enough = all(
        sum(line.quantity for line in lines if line.variant_id == variant)
        <= sum(shelved.available for shelved in shelves.get(variant, []))
        for variant in wanted
    )
    assert bool(shortfalls) != enough


@given(lines=orders, shelves=shelves_of_goods)
def test_a_plan_skips_no_lot_that_has_something_left(
    lines: list[WantedLine], shelves: dict[UUID, list[OnShelf]]
) -> None:
    taken, _ = plan(lines, shelves)

    for variant in {take.line.variant_id for take in taken}:
        used = [
            sum(take.quantity for take in taken if take.source is shelved)
            for shelved in shelves[variant]
        ]
        left = [s.available - u for s, u in zip(shelves[variant], used, strict=True)]
        last = max(place for place, amount in enumerate(used) if amount)
        assert not any(left[:last])


# --- First expired, first out ---------------------------------------------------------------


def test_the_lot_that_expires_first_is_picked_first_then_the_older_harvest_then_the_code() -> None:
    keys = {
        "never": picking_key(None, DAY, "A"),
        "late": picking_key(DAY + timedelta(9), DAY, "A"),
        "early, young": picking_key(DAY + timedelta(3), DAY, "A"),
        "early, old, B": picking_key(DAY + timedelta(3), DAY - timedelta(1), "B"),
        "early, old, A": picking_key(DAY + timedelta(3), DAY - timedelta(1), "A"),
    }

    order = sorted(keys, key=lambda name: keys[name])

    assert order == ["early, old, A", "early, old, B", "early, young", "late", "never"]


@pytest.mark.parametrize(
    ("best_before", "min_life_days", "sold"),
    [
        (None, 30, True),
        (DAY + timedelta(1), 0, True),
        (DAY, 0, False),
        (DAY - timedelta(1), 0, False),
        (DAY + timedelta(3), 2, True),
        (DAY + timedelta(2), 2, False),
    ],
)
def test_a_lot_is_sold_only_while_it_keeps_longer_than_promised(
    best_before: date | None, min_life_days: int, sold: bool
) -> None:
    assert keeps(best_before, min_life_days, DAY) is sold


# --- States ---------------------------------------------------------------------------------

LOT_STEPS = {
    (LotStatus.HARVESTED, LotStatus.INSPECTED),
    (LotStatus.INSPECTED, LotStatus.RELEASED),
    (LotStatus.RELEASED, LotStatus.HELD),
    (LotStatus.RELEASED, LotStatus.RECALLED),
    (LotStatus.HELD, LotStatus.RELEASED),
    (LotStatus.HELD, LotStatus.RECALLED),
}


@pytest.mark.parametrize("present", LotStatus)
@pytest.mark.parametrize("wanted", LotStatus)
def test_a_lot_takes_the_steps_that_are_drawn_and_no_other(
    present: LotStatus, wanted: LotStatus
) -> None:
    if present == wanted or (present, wanted) in LOT_STEPS:
        assert lot_step(present, wanted) == wanted
    else:
        with pytest.raises(WrongLotState, match=f"The lot is {present}"):
            lot_step(present, wanted)


@pytest.mark.parametrize("status", LotStatus)
def test_goods_are_free_to_sell_only_while_their_lot_is_released(status: LotStatus) -> None:
    expected = Bucket.AVAILABLE if status is LotStatus.RELEASED else Bucket.QUARANTINED

    assert free_bucket(status) is expected


@pytest.mark.parametrize("wanted", ReservationStatus)
def test_returned_goods_end_their_reservation(wanted: ReservationStatus) -> None:
    with pytest.raises(WrongReservationState, match="The reservation is returned"):
        check_reservation_step(ReservationStatus.RETURNED, wanted)


@pytest.mark.parametrize("present", ["committed", "consumed", "returned"])
def test_stock_that_is_promised_or_gone_is_not_reserved_again(present: str) -> None:
    with pytest.raises(WrongReservationState, match=f"The reservation is {present}"):
        check_reservation_step(present, ReservationStatus.RESERVED)


def test_refused_stock_cannot_be_committed() -> None:
    with pytest.raises(WrongReservationState, match="refused"):
        check_reservation_step("refused", ReservationStatus.COMMITTED)


# --- Dates ----------------------------------------------------------------------------------


def test_best_before_counts_from_the_harvest() -> None:
    assert best_before_of(DAY, 5) == DAY + timedelta(5)
    assert best_before_of(DAY, None) is None


def test_a_harvest_in_the_future_is_refused() -> None:
    with pytest.raises(ImpossibleDates, match="future"):
        check_dates(DAY + timedelta(1), None, DAY)


def test_goods_that_expire_before_they_are_harvested_are_refused() -> None:
    with pytest.raises(ImpossibleDates, match="earlier than the harvest"):
        check_dates(DAY, DAY - timedelta(1), DAY)


# --- The books ------------------------------------------------------------------------------

movements = st.lists(
    st.tuples(
        st.sampled_from([*Bucket, *Account]),
        st.sampled_from([*Bucket, *Account]),
        st.integers(min_value=1, max_value=1000),
    )
)


def sums_of(moved: list[tuple[str, str, int]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for source, target, quantity in moved:
        sums[source] = sums.get(source, 0) - quantity
        sums[target] = sums.get(target, 0) + quantity
    return sums


@given(movements)
def test_balances_that_are_the_sum_of_their_movements_balance(
    moved: list[tuple[str, str, int]],
) -> None:
    sums = sums_of(moved)

    assert is_balanced(sums, {bucket: sums.get(bucket, 0) for bucket in Bucket})


@given(moved=movements, bucket=st.sampled_from(list(Bucket)), error=st.integers().filter(bool))
def test_a_balance_that_is_not_the_sum_of_its_movements_does_not_balance(
    moved: list[tuple[str, str, int]], bucket: Bucket, error: int
) -> None:
    sums = sums_of(moved)
    levels = {each: sums.get(each, 0) for each in Bucket}

    levels[bucket] += error

    assert not is_balanced(sums, levels)


# --- Events ------------------------------------------------------------------------------------


def test_the_largest_order_fits_into_its_events() -> None:
    some_id = UUID(int=2**128 - 1)
    taken = {
        "lot_id": some_id,
        "lot_code": "L" * 40,
        "location_id": some_id,
        "producer_id": some_id,
        "quantity": 1_000_000_000,
    }
    lines = [
        {
            "line_no": 200,
            "variant_id": some_id,
            "quantity": 1_000_000_000,
            "line_total_fen": 10**14,
            "lots": [taken] * (MOST_LOTS // 200),
        }
    ] * 200
    confirmed = {
        "order_ref": "ORD-23456789",
        "channel": "cooperative",
        "payment_method": "cash_on_delivery",
        "site_id": some_id,
        "collect": False,
        "total_fen": 10**16,
        "due_fen": 10**16,
    }

    for contract, more in ((StockReserved, {}), (OrderConfirmed, confirmed)):
        body = encode(
            fact_of(contract, {"order_id": some_id, "lines": lines} | more),
            event_id=some_id,
            sequence=1,
            time=datetime(2025, 7, 31, tzinfo=UTC),
            correlation_id="c" * 100,
            causation_id=str(some_id),
            traceparent="t" * 55,
        )
        assert len(body) <= LARGEST
