"""Orders when things happen at the same moment: the lock of the order's row decides."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from services.orders.batch import OrderNotFound, OrdersBatch
from services.orders.models import Order, Payment
from services.orders.rules.order_status import OrderState, WrongOrderState
from services.orders.rules.payments import STANDARD, Attempt
from services.orders.use_cases import decide, find, pay
from services.orders.worker import run_expiry
from shared.events import StockRefused
from shared.messaging.batch import transaction
from shared.runtime import clock
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.ids import new_id

Place = Callable[..., dict[str, Any]]
Reserve = Callable[[dict[str, Any]], UUID]
ReadOrder = Callable[[UUID | str], Order]
Recorded = Callable[[], list[tuple[str, dict[str, Any]]]]
InThreads = Callable[..., list[Any]]


def _attempt(order: dict[str, Any], payment_ref: str) -> Attempt:
    """Make a full payment of an order."""
    return Attempt(payment_ref, UUID(order["order_id"]), order["total_fen"], "paid")


@pytest.mark.parametrize("attempt", range(5))
def test_when_payment_and_expiry_meet_one_wins_and_no_money_is_lost(
    place: Place,
    reserve: Reserve,
    database: Database,
    read_order: ReadOrder,
    recorded_events: Recorded,
    in_threads: InThreads,
    attempt: int,
) -> None:
    order = place(payment_method="prepaid")
    order_id = reserve(order)
    late = clock.now() + timedelta(hours=1)

    def expire() -> None:
        with transaction(database, OrdersBatch) as batch:
            decide.expire_unpaid(batch, late)

    def book() -> None:
        with transaction(database, OrdersBatch) as batch:
            pay.book_payment(batch, STANDARD, _attempt(order, "pay-1"))

    in_threads([expire, book])

    # Either it was paid in time, or it expired and asks for its stock again.
    now = read_order(order_id)
    told = [type_.split(".")[1] for type_, _ in recorded_events()][3:]
    assert now.payment_state == "paid"
    assert (now.state, told) in (
        (OrderState.CONFIRMED, ["order_paid", "order_confirmed"]),
        (OrderState.PLACED, ["order_expired", "order_paid", "order_reinstated"]),
    )


@pytest.mark.parametrize("attempt", range(3))
def test_when_payment_and_cancellation_meet_the_money_goes_back_or_was_never_kept(
    place: Place,
    reserve: Reserve,
    database: Database,
    read_order: ReadOrder,
    in_threads: InThreads,
    attempt: int,
) -> None:
    order = place(payment_method="prepaid")
    order_id = reserve(order)

    def cancel() -> None:
        with transaction(database, OrdersBatch) as batch:
            found = find.lock_own_order(batch, order_id, None)
            decide.cancel_order(batch, found, "changed_mind")

    def book() -> None:
        with transaction(database, OrdersBatch) as batch:
            pay.book_payment(batch, STANDARD, _attempt(order, "pay-1"))

    in_threads([cancel, book])

    now = read_order(order_id)
    assert (now.state, now.payment_state) == ("cancelled", "refunded")
    assert now.paid_fen == now.refunded_fen == order["total_fen"]


def test_a_callback_that_comes_many_times_at_once_books_once(
    place: Place,
    reserve: Reserve,
    database: Database,
    read_order: ReadOrder,
    in_threads: InThreads,
) -> None:
    order = place(payment_method="prepaid")
    order_id = reserve(order)

    def book() -> UUID:
        with transaction(database, OrdersBatch) as batch:
            return pay.book_payment(batch, STANDARD, _attempt(order, "pay-1")).id

    payment_ids = in_threads([book] * 6)

    assert len(set(payment_ids)) == 1
    with database.readers() as reader:
        assert reader.scalar(select(func.count()).select_from(Payment)) == 1
    assert read_order(order_id).paid_fen == order["total_fen"]


def test_the_last_hold_allowed_is_given_once_when_asked_for_many_times_at_once(
    app_of: Callable[[Settings], Any],
    app_settings: Settings,
    token: Callable[..., dict[str, str]],
    an_order: Callable[..., dict[str, Any]],
    in_threads: InThreads,
) -> None:
    """One buyer cannot hoard a rare lot by asking for it all at once."""
    limit = {**app_settings.environment, "FARMGATE_ORDERS_OPEN_HOLDS": "3"}
    app = app_of(Settings.from_environment("orders", limit))
    body = an_order(payment_method="prepaid")

    def place() -> int:
        answer = app.test_client().post(
            "/api/orders/v1/orders", json=body, headers=token("orders:place", subject="buyer-1")
        )
        return answer.status_code

    answers = in_threads([place] * 8)

    assert sorted(answers) == [202] * 3 + [409] * 5


def test_many_unpaid_orders_expire_in_portions_and_an_order_that_is_locked_is_left_alone(
    place: Place,
    reserve: Reserve,
    database: Database,
    read_order: ReadOrder,
    monkeypatch: pytest.MonkeyPatch,
    app_settings: Settings,
) -> None:
    orders = [reserve(place(payment_method="prepaid", buyer_id=None)) for _ in range(5)]
    late = clock.now() + timedelta(hours=1)
    monkeypatch.setattr(clock, "now", lambda: late)
    monkeypatch.setattr(decide, "EXPIRED_AT_ONCE", 2)
    if not database.is_sqlite:  # there, whoever writes waits for all other writers
        with transaction(database, OrdersBatch) as batch:
            find.lock_own_order(batch, orders[0], None)
            while run_expiry(database, app_settings):
                pass
        assert read_order(orders[0]).state == "reserved"

    runs = [run_expiry(database, app_settings) for _ in range(4)]

    assert {read_order(order_id).state for order_id in orders} == {OrderState.EXPIRED}
    assert runs[-1] is False


def test_expiring_takes_a_number_of_statements_that_does_not_grow_with_the_orders(
    place: Place,
    reserve: Reserve,
    database: Database,
    count_statements: Callable[..., Any],
) -> None:
    def statements_for(size: int) -> int:
        for _ in range(size):
            reserve(place(payment_method="prepaid", buyer_id=None))
        with count_statements() as statements, transaction(database, OrdersBatch) as batch:
            assert decide.expire_unpaid(batch, clock.now() + timedelta(hours=1)) == size
        return len(statements)

    assert statements_for(30) <= statements_for(2)


@pytest.mark.parametrize(
    "change",
    [
        {"refunded_fen": 1},
        {"paid_fen": -1},
        {"expires_at": clock.now()},
        {"state": OrderState.EXPIRED},
    ],
)
def test_the_database_itself_refuses_what_the_rules_forbid(
    place: Place, database: Database, change: dict[str, Any]
) -> None:
    """No refund beyond what was paid, and no expiry for cash, whatever the code does."""
    order_id = UUID(place()["order_id"])

    with pytest.raises(IntegrityError), transaction(database, OrdersBatch) as batch:
        order = batch.session.get_one(Order, order_id)
        for name, value in change.items():
            setattr(order, name, value)


def test_a_refused_step_leaves_nothing_half_done(
    place: Place,
    reserve: Reserve,
    database: Database,
    read_order: ReadOrder,
    recorded_events: Recorded,
) -> None:
    order_id = reserve(place())
    recorded, before = recorded_events(), read_order(order_id).status

    with pytest.raises(WrongOrderState), transaction(database, OrdersBatch) as batch:
        decide.apply_stock_refused(batch, StockRefused(order_id=order_id, shortfalls=[]))

    assert recorded_events() == recorded
    assert read_order(order_id).status == before


def test_an_unknown_order_is_not_found_by_anybody(database: Database) -> None:
    with database.readers() as reader, pytest.raises(OrderNotFound):
        find.find_order(reader, new_id(), None)
