"""Orders' rules: what a line costs, how phones are read and shown, which way an order may go."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from services.orders.rules import order_status, people, prices
from services.orders.rules.callers import names_a_phone
from services.orders.rules.order_status import (
    NEXT,
    PAYMENT_NEXT,
    HoldStillRuns,
    OrderState,
    OrderStatus,
    PaymentState,
    WrongOrderState,
    WrongPaymentState,
)
from shared.events import PAYMENT_METHODS

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
CASH = "cash_on_delivery"


def a_status(**changes: object) -> OrderStatus:
    """A prepaid order over 100.00 yuan that waits for catalog's answer."""
    return replace(order_status.placed("ORD-TEST", "prepaid", 10_000), **changes)  # type: ignore[arg-type]


def in_cash(**changes: object) -> OrderStatus:
    """A cash order over 100.00 yuan that waits for catalog's answer."""
    return replace(order_status.placed("ORD-TEST", CASH, 10_000), **changes)  # type: ignore[arg-type]


# --- Prices -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quantity", "price_fen", "price_unit", "total"),
    [
        (1000, 6800, 500, 13_600),
        (1, 1, 2, 1),  # half a fen is rounded up
        (1, 1, 3, 0),
        (2, 1, 3, 1),
        (333, 100, 1000, 33),
        (335, 100, 1000, 34),
        (7, 0, 1, 0),
        (10_000_000, 2**40, 1, 10_000_000 * 2**40),
    ],
)
def test_a_line_is_rounded_once_and_half_up(
    quantity: int, price_fen: int, price_unit: int, total: int
) -> None:
    assert prices.line_total_fen(quantity, price_fen, price_unit) == total


@given(st.integers(1, 10_000_000), st.integers(0, 10**9), st.integers(1, 10**6))
def test_a_line_is_never_half_a_fen_off(quantity: int, price_fen: int, price_unit: int) -> None:
    exact = Fraction(quantity * price_fen, price_unit)

    off = prices.line_total_fen(quantity, price_fen, price_unit) - exact

    assert Fraction(-1, 2) < off <= Fraction(1, 2)


@pytest.mark.parametrize(("quantity", "near"), [(499, "order 500"), (1200, "order 1000 or 1500")])
def test_a_broken_pack_is_refused_with_the_nearest_whole_ones(quantity: int, near: str) -> None:
    with pytest.raises(prices.WrongPack, match=near):
        prices.check_packs(1, quantity, 500, "g")


def test_a_total_beyond_what_can_be_booked_is_refused() -> None:
    prices.check_total(prices.MOST_TOTAL_FEN)

    with pytest.raises(prices.TotalTooLarge):
        prices.check_total(prices.MOST_TOTAL_FEN + 1)


# --- People -------------------------------------------------------------------------------------


@pytest.mark.parametrize("phone", ["+8613800138000", "+868945822200", "+41446681800"])
def test_a_masked_phone_cannot_be_called(phone: str) -> None:
    masked = people.masked(phone)

    assert len(masked) == len(phone)
    assert masked.count("*") >= 4
    assert masked[-2:] == phone[-2:]


@pytest.mark.parametrize("taken", ["138 0013 8000 转 8", "12345", "?", "1-800-FLOWERS"])
def test_of_what_is_no_phone_only_the_end_is_shown(taken: str) -> None:
    assert set(people.masked(taken)[:-2]) <= {"*"}
    assert taken.endswith(people.masked(taken).strip("*"))


def test_a_guests_secret_is_stored_only_as_its_digest() -> None:
    secret = people.new_guest_secret()

    assert len(people.secret_digest(secret)) == 32
    assert secret.encode() not in people.secret_digest(secret)
    assert people.secret_digest(secret) != people.secret_digest(people.new_guest_secret())


# --- The order ------------------------------------------------------------------------------------


def test_a_prepaid_order_waits_in_reserved_for_its_money() -> None:
    reserved = order_status.reserve(a_status(), NOON)

    assert (reserved.state, reserved.expires_at) == (OrderState.RESERVED, NOON)


@pytest.mark.parametrize("method", ["cash_on_delivery", "cash_at_station"])
def test_a_cash_order_is_confirmed_at_once_and_has_no_time_to_expire(method: str) -> None:
    placed = order_status.placed("ORD-TEST", method, 10_000)

    confirmed = order_status.reserve(placed, NOON)

    assert (confirmed.state, confirmed.expires_at) == (OrderState.CONFIRMED, None)
    assert confirmed.due_fen == 10_000


def test_an_order_paid_before_its_stock_is_reserved_is_confirmed_at_once() -> None:
    paid = order_status.pay(a_status(), 10_000)

    assert paid.state == OrderState.PLACED
    assert order_status.reserve(paid, NOON).state == OrderState.CONFIRMED


def test_a_prepaid_order_over_nothing_waits_for_nothing() -> None:
    free = order_status.placed("ORD-TEST", "prepaid", 0)

    assert order_status.reserve(free, NOON).state == OrderState.CONFIRMED


def test_a_refused_order_gives_back_what_was_paid() -> None:
    rejected = order_status.reject(order_status.pay(a_status(), 10_000))

    assert (rejected.state, rejected.payment_state) == (OrderState.REJECTED, PaymentState.REFUNDED)
    assert rejected.net_paid_fen == 0


def test_an_unpaid_order_expires_when_its_time_is_over_and_not_before() -> None:
    reserved = order_status.reserve(a_status(), NOON)

    with pytest.raises(HoldStillRuns):
        order_status.expire(reserved, NOON - timedelta(microseconds=1))
    expired = order_status.expire(reserved, NOON)

    assert (expired.state, expired.payment_state) == (OrderState.EXPIRED, PaymentState.VOIDED)


def test_money_that_comes_after_the_expiry_lets_the_order_ask_for_its_stock_again() -> None:
    expired = order_status.expire(order_status.reserve(a_status(), NOON), NOON)

    again = order_status.pay(expired, 10_000)

    assert (again.state, again.payment_state) == (OrderState.PLACED, PaymentState.PAID)
    assert order_status.reserve(again, NOON).state == OrderState.CONFIRMED
    assert order_status.reject(again).net_paid_fen == 0


@pytest.mark.parametrize(
    ("before", "amount_fen", "cause"),
    [
        (a_status(), 9_999, "wrong_amount"),
        (a_status(), 10_001, "wrong_amount"),
        (order_status.pay(a_status(), 10_000), 10_000, "already_paid"),
        (order_status.cancel(order_status.pay(a_status(), 10_000)), 10_000, "already_paid"),
        (order_status.cancel(a_status()), 10_000, "order_cancelled"),
        (order_status.reject(a_status()), 10_000, "order_rejected"),
        (in_cash(), 10_000, "not_prepaid"),
        (order_status.cancel(in_cash()), 10_000, "not_prepaid"),
    ],
)
def test_money_that_cannot_count_goes_back_and_the_order_stays_where_it_was(
    before: OrderStatus, amount_fen: int, cause: str
) -> None:
    after = order_status.pay(before, amount_fen)

    assert order_status.refund_cause(before, amount_fen) == cause
    assert after.state == before.state
    assert after.net_paid_fen == before.net_paid_fen
    assert after.refunded_fen == before.refunded_fen + amount_fen


def test_a_failed_attempt_lets_the_order_wait_and_another_one_pays_it() -> None:
    failed = order_status.fail_payment(order_status.reserve(a_status(), NOON))

    assert (failed.state, failed.payment_state) == (OrderState.RESERVED, PaymentState.FAILED)
    assert order_status.fail_payment(failed) == failed
    assert order_status.pay(failed, 10_000).state == OrderState.CONFIRMED


@pytest.mark.parametrize(
    "state", [OrderState.PLACED, OrderState.RESERVED, OrderState.CONFIRMED, "in_fulfilment"]
)
def test_an_order_can_be_cancelled_until_it_is_shipped(state: OrderState) -> None:
    cancelled = order_status.cancel(in_cash(state=OrderState(state)))

    assert cancelled.state == OrderState.CANCELLED
    assert cancelled.payment_state == PaymentState.VOIDED
    assert order_status.cancel(cancelled) == cancelled


@pytest.mark.parametrize(
    "state", ["shipped", "delivered", "collected", "completed", "rejected", "expired", "returned"]
)
def test_an_order_that_left_or_is_over_is_not_cancelled_and_the_refusal_names_its_state(
    state: str,
) -> None:
    with pytest.raises(WrongOrderState, match=state) as refusal:
        order_status.cancel(in_cash(state=OrderState(state)))

    assert refusal.value.extra == {"state": state}


@pytest.mark.parametrize("to", [OrderState.DELIVERED, OrderState.COLLECTED])
def test_cash_taken_on_hand_over_completes_the_order(to: OrderState) -> None:
    completed = order_status.hand_over(in_cash(state=OrderState.SHIPPED), to, 10_000)

    assert completed.state == OrderState.COMPLETED
    assert completed.payment_state == PaymentState.COD_COLLECTED
    assert (completed.net_paid_fen, completed.difference_fen) == (10_000, 0)


@pytest.mark.parametrize(
    ("collected_fen", "payment_state"),
    [
        (9_000, PaymentState.COD_COLLECTED),
        (11_000, PaymentState.COD_COLLECTED),
        (0, PaymentState.COD_REFUSED),
    ],
)
def test_another_amount_than_was_due_is_recorded_as_a_difference(
    collected_fen: int, payment_state: PaymentState
) -> None:
    shipped = in_cash(state=OrderState.SHIPPED)

    completed = order_status.hand_over(shipped, OrderState.DELIVERED, collected_fen)

    assert completed.payment_state == payment_state
    assert completed.difference_fen == collected_fen - 10_000


def test_goods_that_were_not_taken_and_came_back_end_the_order_and_return_the_money() -> None:
    shipped = order_status.pay(a_status(), 10_000)
    shipped = replace(shipped, state=OrderState.SHIPPED)

    returned = order_status.return_goods(order_status.fail_delivery(shipped))

    assert (returned.state, returned.payment_state) == (OrderState.RETURNED, PaymentState.REFUNDED)


def test_cash_that_was_due_for_goods_not_taken_was_refused() -> None:
    failed = order_status.fail_delivery(in_cash(state=OrderState.SHIPPED))

    assert (failed.state, failed.payment_state) == (OrderState.SHIPPED, PaymentState.COD_REFUSED)
    assert order_status.return_goods(failed).state == OrderState.RETURNED


def test_whatever_is_said_of_a_cancelled_order_leaves_it_cancelled() -> None:
    cancelled = order_status.cancel(in_cash())
    said: list[Callable[[OrderStatus], OrderStatus]] = [
        lambda s: order_status.reserve(s, NOON),
        order_status.reject,
        order_status.pack,
        order_status.ship,
        order_status.fail_delivery,
        order_status.return_goods,
    ]

    assert {step(cancelled) for step in said} == {cancelled}


def test_cash_for_goods_that_were_faster_than_the_cancellation_counts() -> None:
    cancelled = order_status.cancel(in_cash(state=OrderState.IN_FULFILMENT))

    delivered = order_status.hand_over(cancelled, OrderState.DELIVERED, 10_000)

    assert delivered.state == OrderState.CANCELLED
    assert delivered.payment_state == PaymentState.COD_COLLECTED
    assert delivered.difference_fen == 0


def test_prepaid_goods_that_were_faster_than_the_cancellation_show_as_a_difference() -> None:
    cancelled = order_status.cancel(order_status.pay(a_status(), 10_000))

    delivered = order_status.hand_over(cancelled, OrderState.DELIVERED, 0)

    assert (delivered.state, delivered.difference_fen) == (OrderState.CANCELLED, -10_000)


STEPS: dict[str, tuple[Callable[[OrderStatus], OrderStatus], set[str]]] = {
    "reserve": (lambda s: order_status.reserve(s, NOON), {"placed"}),
    "reject": (order_status.reject, {"placed"}),
    "expire": (lambda s: order_status.expire(replace(s, expires_at=NOON), NOON), {"reserved"}),
    "cancel": (order_status.cancel, {"placed", "reserved", "confirmed", "in_fulfilment"}),
    "pack": (order_status.pack, {"confirmed"}),
    "ship": (order_status.ship, {"in_fulfilment"}),
    "hand over": (lambda s: order_status.hand_over(s, OrderState.DELIVERED, 0), {"shipped"}),
    "fail": (order_status.fail_delivery, {"shipped"}),
    "return goods": (order_status.return_goods, {"shipped"}),
}


@pytest.mark.parametrize("state", [state for state in OrderState if state != "cancelled"])
@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_taken_from_the_states_drawn_and_refused_from_all_others(
    name: str, state: OrderState
) -> None:
    step, allowed = STEPS[name]
    before = a_status(state=state)

    if state in allowed:
        step(before)
    else:
        with pytest.raises(WrongOrderState, match=state):
            step(before)


def _reachable(state: OrderState) -> set[OrderState]:
    """What one step may lead to: a step may pass through one state on its way."""
    direct = set(NEXT[state])
    return {state} | direct | {further for one in direct for further in NEXT[one]}


def _payments_reachable(state: PaymentState) -> set[PaymentState]:
    direct = set(PAYMENT_NEXT[state])
    return {state} | direct | {further for one in direct for further in PAYMENT_NEXT[one]}


class AnyOrder(RuleBasedStateMachine):
    """One order to which anything happens, in any order and again and again."""

    present: OrderStatus
    now: datetime

    @initialize(method=st.sampled_from(PAYMENT_METHODS), total=st.sampled_from([0, 1, 10_000]))
    def begin(self, method: str, total: int) -> None:
        self.present, self.now = order_status.placed("ORD-MODEL", method, total), NOON

    def _try(self, step: Callable[[OrderStatus], OrderStatus]) -> None:
        before = self.present
        try:
            after = step(before)
        except (WrongOrderState, WrongPaymentState, HoldStillRuns):
            return  # refused: nothing happened, and the refusal names the state
        assert after.state in _reachable(before.state)
        assert after.payment_state in _payments_reachable(before.payment_state)
        assert after.paid_fen >= before.paid_fen
        assert after.refunded_fen >= before.refunded_fen
        if before.state == OrderState.CANCELLED:
            assert after.state == OrderState.CANCELLED
        self.present = after

    @rule(seconds=st.integers(0, 900))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def reserve(self) -> None:
        self._try(lambda s: order_status.reserve(s, self.now + timedelta(seconds=900)))

    @rule()
    def reject(self) -> None:
        self._try(order_status.reject)

    @rule()
    def pay_in_full(self) -> None:
        self._try(lambda s: order_status.pay(s, s.total_fen or 1))

    @rule(amount=st.integers(1, 20_000))
    def pay(self, amount: int) -> None:
        self._try(lambda s: order_status.pay(s, amount))

    @rule()
    def fail_to_pay(self) -> None:
        self._try(order_status.fail_payment)

    @rule()
    def expire(self) -> None:
        self._try(lambda s: order_status.expire(s, self.now))

    @rule()
    def cancel(self) -> None:
        self._try(order_status.cancel)

    @rule()
    def pack(self) -> None:
        self._try(order_status.pack)

    @rule()
    def ship(self) -> None:
        self._try(order_status.ship)

    @rule(
        to=st.sampled_from([OrderState.DELIVERED, OrderState.COLLECTED]),
        share=st.sampled_from([0, 1, 2]),
    )
    def hand_over(self, to: OrderState, share: int) -> None:
        self._try(lambda s: order_status.hand_over(s, to, s.due_fen * share))

    @rule()
    def fail_delivery(self) -> None:
        self._try(order_status.fail_delivery)

    @rule()
    def return_goods(self) -> None:
        self._try(order_status.return_goods)

    @invariant()
    def never_refunds_more_than_was_paid(self) -> None:
        assert 0 <= self.present.refunded_fen <= self.present.paid_fen

    @invariant()
    def only_unpaid_prepaid_orders_have_a_time_to_expire(self) -> None:
        waits = self.present.state == OrderState.RESERVED
        assert (self.present.expires_at is not None) == waits
        if waits:
            assert self.present.payment_method == "prepaid"
            assert self.present.awaits_payment

    @invariant()
    def cash_never_expires(self) -> None:
        if self.present.payment_method != "prepaid":
            assert self.present.state != OrderState.EXPIRED

    @invariant()
    def an_order_is_confirmed_only_when_paid_or_due_in_cash(self) -> None:
        if self.present.state in (OrderState.CONFIRMED, OrderState.SHIPPED):
            assert not self.present.awaits_payment
            if self.present.payment_method == "prepaid":
                assert self.present.net_paid_fen == self.present.total_fen

    @invariant()
    def an_order_that_ended_early_keeps_no_money_but_for_goods_the_buyer_has(self) -> None:
        over = (OrderState.REJECTED, OrderState.EXPIRED, OrderState.RETURNED, OrderState.CANCELLED)
        if self.present.state in over and self.present.difference_fen is None:
            assert self.present.net_paid_fen == 0


TestAnyOrder = AnyOrder.TestCase


# --- Whose order it is ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "is_phone"),
    [
        ("13800138000", True),
        ("008613800138000", True),
        ("86.138.0013.8000", True),
        ("buyer-13800138000", True),
        ("0894-5801234", True),
        ("85291234567", True),
        ("447911123456", True),
        ("#138/0013/8000", True),
        ("buyer-1", False),
        ("1234567890", False),
        ("2026113012", False),
        ("order-2026113012", False),
        ("card-447911123456", False),
        ("550e8400-e29b-41d4-a716-446655440000", False),
        ("auth0|64fd13800138000ab", False),
    ],
)
def test_ids_that_ring_are_told_from_those_that_do_not(text: str, is_phone: bool) -> None:
    assert names_a_phone(text) is is_phone
