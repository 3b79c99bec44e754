"""Rules of stations: what a device may sell, until when, and what it sold."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.rules import (
    AllotmentStatus,
    BeyondRemaining,
    BeyondSale,
    OverdraftStatus,
    Quota,
    SaleStatus,
    Sold,
    SuspensionReason,
    Term,
    WrongAllotmentState,
    allotment_step,
    check_back,
    end_of_day,
    keeps,
    last_sale_day,
    lease_end,
    new_code,
    outranks,
    overdrawn,
    plain_code,
    reduced,
    sale_moves,
    schedule,
)

TODAY = date(2026, 8, 20)
A, B = uuid4(), uuid4()


def line(line_no: int, lot: UUID, quantity: int, **changes: Any) -> Sold:
    return Sold(line_no, A, lot, quantity, **changes)


# --- Quota --------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(st.sampled_from(["grant", "sell", "give_back", "write_off"]), st.integers(1, 50)),
    max_size=40,
)


@given(STEPS)
def test_whatever_happens_all_that_was_granted_is_somewhere(
    steps: list[tuple[str, int]],
) -> None:
    quota = Quota()
    for step, quantity in steps:
        before = quota
        try:
            quota = getattr(quota, step)(quantity)
        except BeyondRemaining:
            assert quantity > before.remaining
            quota = before

        parts = (quota.sold, quota.returned, quota.remaining, quota.written_off)
        assert quota.granted == sum(parts)
        assert min(parts) >= 0
        # Gross: nothing that was sold is ever taken off again.
        assert quota.sold >= before.sold
        assert quota.granted >= before.granted


@given(st.lists(st.integers(1, 30), max_size=30), st.randoms())
def test_sales_within_the_grants_are_never_disputed_in_any_order(
    sales: list[int], random: Any
) -> None:
    quota = Quota().grant(sum(sales))
    random.shuffle(sales)

    for quantity in sales:
        assert overdrawn([line(1, A, quantity)], {A: quota.remaining}) == []
        quota = quota.sell(quantity)

    assert quota.remaining == 0


@pytest.mark.parametrize("step", ["sell", "give_back", "write_off"])
def test_no_more_is_taken_from_an_allotment_than_is_left(step: str) -> None:
    with pytest.raises(BeyondRemaining) as refusal:
        getattr(Quota().grant(10), step)(11)

    assert refusal.value.extra == {"requested": 11, "remaining": 10}


# --- States ---------------------------------------------------------------------------------------

G, A_, R, S, C = (
    AllotmentStatus.GRANTED,
    AllotmentStatus.ACTIVE,
    AllotmentStatus.RETURNING,
    AllotmentStatus.SUSPENDED,
    AllotmentStatus.CLOSED,
)
DRAWN = {(G, A_), (G, R), (G, S), (G, C), (A_, G), (A_, R), (A_, S), (A_, C), (R, S), (R, C)} | {
    (S, G),
    (S, C),
    (C, G),
}


@pytest.mark.parametrize("present", AllotmentStatus)
@pytest.mark.parametrize("wanted", AllotmentStatus)
def test_an_allotment_goes_where_a_step_is_drawn_and_nowhere_else(
    present: AllotmentStatus, wanted: AllotmentStatus
) -> None:
    if present == wanted or (present, wanted) in DRAWN:
        assert allotment_step(present.value, wanted) is wanted
    else:
        with pytest.raises(WrongAllotmentState) as refusal:
            allotment_step(present, wanted)
        assert refusal.value.extra == {"state": str(present)}


@pytest.mark.parametrize(
    ("stop", "present", "replaces"),
    [
        (SuspensionReason.LOT_HELD, None, True),
        (SuspensionReason.LOT_HELD, SuspensionReason.OPERATOR, False),
        (SuspensionReason.LOT_HELD, SuspensionReason.LOT_HELD, False),
        (SuspensionReason.LOT_RECALLED, SuspensionReason.LOT_HELD, True),
        (SuspensionReason.LOT_RECALLED, SuspensionReason.OPERATOR, True),
        (SuspensionReason.LOT_RECALLED, SuspensionReason.LOT_RECALLED, False),
        (SuspensionReason.OPERATOR, SuspensionReason.LOT_RECALLED, False),
        (SuspensionReason.OPERATOR, SuspensionReason.LOT_HELD, True),
        (SuspensionReason.OPERATOR, SuspensionReason.OPERATOR, False),
        (SuspensionReason.OPERATOR, None, True),
    ],
)
def test_an_operator_outranks_a_hold_and_a_recall_outranks_both(
    stop: SuspensionReason, present: SuspensionReason | None, replaces: bool
) -> None:
    assert outranks(stop, present) is replaces


# --- Until when -------------------------------------------------------------------------------


@given(
    st.dates(date(1, 1, 2), date(9999, 12, 30)),
    st.integers(0, 36_500),
    st.dates(date(1900, 1, 1), date(2200, 1, 1)),
)
def test_the_last_sale_day_is_the_last_on_which_a_lot_may_be_sold(
    best_before: date, min_life_days: int, today: date
) -> None:
    last = last_sale_day(best_before, min_life_days)

    assert last is not None
    assert (today <= last) == keeps(best_before, min_life_days, today) or last == date.min


def test_what_never_spoils_has_no_last_sale_day() -> None:
    assert last_sale_day(None, 3) is None


@pytest.mark.parametrize(
    ("lease_hours", "sell_by", "hours"),
    [
        (72, None, 72),
        (72, TODAY + timedelta(days=30), 72),
        # Noon in UTC is 20:00 in Asia/Shanghai, so today ends there in four hours.
        (72, TODAY, 4),
        (72, TODAY - timedelta(days=1), -20),
        (1, TODAY, 1),
    ],
)
def test_a_lease_ends_with_the_last_sale_day(
    lease_hours: int, sell_by: date | None, hours: int
) -> None:
    noon = datetime(2026, 8, 20, 12, tzinfo=UTC)

    lease = lease_end(noon + timedelta(hours=lease_hours), sell_by)

    assert lease == noon + timedelta(hours=hours)


def test_without_a_contact_there_is_no_lease() -> None:
    assert lease_end(None, TODAY) is None


def test_a_day_ends_in_asia_shanghai() -> None:
    assert end_of_day(TODAY).astimezone(UTC) == datetime(2026, 8, 20, 16, tzinfo=UTC)


# --- Sales, and what comes back ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "remaining", "beyond"),
    [
        ([line(1, A, 5)], {A: 5}, []),
        ([line(1, A, 6)], {A: 5}, [(1, 5)]),
        ([line(1, A, 3), line(2, A, 3)], {A: 5}, [(2, 2)]),
        ([line(1, A, 6), line(2, A, 5)], {A: 5}, [(1, 5)]),
        ([line(1, A, 1), line(2, B, 1)], {A: 1}, [(2, 0)]),
        ([], {}, []),
    ],
)
def test_lines_on_one_lot_share_what_is_left_of_it(
    lines: list[Sold], remaining: dict[UUID, int], beyond: list[tuple[int, int]]
) -> None:
    assert [(each.line_no, left) for each, left in overdrawn(lines, remaining)] == beyond


@given(
    st.lists(st.tuples(st.sampled_from([A, B]), st.integers(1, 9)), max_size=8),
    st.integers(0, 20),
    st.integers(0, 20),
)
def test_a_sale_is_within_the_grant_when_the_sums_of_its_lots_are(
    sold: list[tuple[UUID, int]], of_a: int, of_b: int
) -> None:
    lines = [line(no, lot, quantity) for no, (lot, quantity) in enumerate(sold)]

    within = not overdrawn(lines, {A: of_a, B: of_b})

    sums = {lot: sum(each.quantity for each in lines if each.lot_id == lot) for lot in (A, B)}
    assert within == (sums[A] <= of_a and sums[B] <= of_b)


SALE = (line(1, A, 10), line(2, B, 5))


@pytest.mark.parametrize(
    ("before", "back", "fits"),
    [
        ((), [line(1, A, 10), line(2, B, 5)], True),
        ((line(1, A, 4),), [line(1, A, 6)], True),
        ((line(1, A, 4),), [line(1, A, 7)], False),
        ((), [line(1, A, 6), line(1, A, 5)], False),
        ((), [line(1, B, 1)], False),
        ((), [line(3, A, 1)], False),
        ((line(1, A, 10),), [line(2, B, 5)], True),
        ((), [], True),
    ],
)
def test_no_more_comes_back_of_a_line_than_is_out(
    before: tuple[Sold, ...], back: list[Sold], fits: bool
) -> None:
    if fits:
        check_back(SALE, before, back)
    else:
        with pytest.raises(BeyondSale):
            check_back(SALE, before, back)


def test_what_came_back_needs_no_cover() -> None:
    rest = reduced(SALE, [line(1, A, 4), line(2, B, 5)])

    assert rest == [line(1, A, 6)]
    assert reduced(rest, [line(1, A, 6)]) == []


def test_lines_are_kept_and_read_again() -> None:
    assert [Sold.from_json(each.to_json()) for each in SALE] == list(SALE)


@pytest.mark.parametrize(
    ("status", "overdraft", "moves"),
    [
        (SaleStatus.BOOKED, None, True),
        (SaleStatus.REDUCED, None, False),
        (SaleStatus.OVERDRAWN, OverdraftStatus.OPEN, False),
        (SaleStatus.OVERDRAWN, OverdraftStatus.COVERED, True),
        (SaleStatus.DISPUTED, OverdraftStatus.LOST, False),
        (SaleStatus.DISPUTED, OverdraftStatus.VOIDED, False),
    ],
)
def test_only_what_is_booked_or_covered_has_moved_stock(
    status: SaleStatus, overdraft: OverdraftStatus | None, moves: bool
) -> None:
    assert sale_moves(status, overdraft) is moves


# --- Codes and prices ------------------------------------------------------------------------


def test_codes_are_read_out_over_bad_lines() -> None:
    codes = {new_code() for _ in range(200)}

    assert len(codes) == 200
    assert all(re.fullmatch("[2-9A-HJKMNP-Z]{5}-[2-9A-HJKMNP-Z]{5}", code) for code in codes)


@given(st.text(alphabet="abXY23- \t", max_size=20))
def test_a_code_is_the_same_however_it_is_typed(written: str) -> None:
    plain = plain_code(written)

    assert plain_code(plain) == plain_code(written.lower()) == plain_code(f" {written}-") == plain
    wide = "".join(chr(ord(letter) + 0xFEE0) if letter > " " else letter for letter in written)
    assert plain_code(f"\u3000{wide}") == plain


NOON = datetime(2026, 8, 20, 12, tzinfo=UTC)


def term(fen: int, begins: int, ends: int | None = None) -> Term:
    """Return a price that holds from and until so many hours after noon."""
    until = None if ends is None else NOON + timedelta(hours=ends)
    return Term(fen, 1, NOON + timedelta(hours=begins), until)


@pytest.mark.parametrize(
    ("terms", "spans"),
    [
        ([], []),
        ([term(1, -5)], [term(1, -5)]),
        ([term(1, -5), term(2, -1)], [term(2, -1)]),
        ([term(1, -5), term(2, 3), term(3, 4)], [term(1, -5, 3), term(2, 3, 4), term(3, 4)]),
        ([term(1, 0)], [term(1, 0)]),
        ([term(1, -5, 0)], []),
        ([term(1, -5), term(2, -3, -1)], [term(1, -5)]),
        ([term(1, -5), term(2, -3, 2)], [term(2, -3, 2), term(1, 2)]),
        ([term(1, -5), term(2, 1, 2)], [term(1, -5, 1), term(2, 1, 2), term(1, 2)]),
        ([term(1, -5, 4), term(2, 1, 2)], [term(1, -5, 1), term(2, 1, 2), term(1, 2, 4)]),
        (
            [term(1, -5), term(2, -4, 5), term(3, -3, 1)],
            [term(3, -3, 1), term(2, 1, 5), term(1, 5)],
        ),
        ([term(1, -5, 1), term(2, 3)], [term(1, -5, 1), term(2, 3)]),
        ([term(1, 1)], [term(1, 1)]),
    ],
)
def test_after_a_dated_price_the_one_before_it_holds_again(
    terms: list[Term], spans: list[Term]
) -> None:
    assert schedule(terms, NOON) == spans
