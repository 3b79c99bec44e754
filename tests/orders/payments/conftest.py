"""Orders beside payment providers: applications with their settings, and orders that were paid."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from services.orders.models import Payment, ProviderRefund, Refund
from services.orders.use_cases import verify
from services.orders.worker import run_refunds
from shared.runtime import clock
from shared.runtime.config import Settings
from shared.runtime.database import Database
from tests.support.payment_providers import FakeStripe, FakeWeChatPay, OwnProvider, StandIn

T = TypeVar("T", bound=StandIn)


def _serving(stand_in: T) -> Iterator[T]:
    yield stand_in
    stand_in.close()


@pytest.fixture
def own_provider() -> Iterator[OwnProvider]:
    """A provider of one's own that makes refunds."""
    yield from _serving(OwnProvider())


@pytest.fixture
def stripe() -> Iterator[FakeStripe]:
    """A stand-in of Stripe."""
    yield from _serving(FakeStripe())


@pytest.fixture
def wechatpay() -> Iterator[FakeWeChatPay]:
    """A stand-in of WeChat Pay."""
    yield from _serving(FakeWeChatPay())


class Shop:
    """Orders with the settings of some providers: its web process and its worker."""

    def __init__(self, app: Flask, database: Database, settings: Settings) -> None:
        self.client: FlaskClient = app.test_client()
        self.database, self.settings = database, settings

    def hear(self, path: str, signed: tuple[bytes, dict[str, str]]) -> TestResponse:
        """Give orders a provider's callback."""
        body, headers = signed
        return self.client.post(
            f"/api/orders/v1/payments/callbacks/{path}", data=body, headers=headers
        )

    def work(self) -> None:
        """Let the worker ask for the refunds that are due."""
        while run_refunds(self.database, self.settings):
            pass

    def refunds(self) -> list[tuple[int, str, str | None, str | None]]:
        """Return amount, cause, and state and reason at the provider of each refund."""
        with self.database.readers() as session:
            rows = session.execute(
                select(Refund.amount_fen, Refund.cause, ProviderRefund.state, ProviderRefund.reason)
                .outerjoin(ProviderRefund, ProviderRefund.refund_id == Refund.id)
                .order_by(Refund.id)
            ).all()
        return [(fen, cause, state and str(state), reason) for fen, cause, state, reason in rows]

    def payments(self) -> list[Payment]:
        """Return the payments, in their order."""
        with self.database.readers() as session:
            return list(session.scalars(select(Payment).order_by(Payment.id)))

    def check(self) -> None:
        """Check that the books balance."""
        with self.database.readers() as session:
            assert verify.compare(session).differences == []


@pytest.fixture
def shop(
    app_of: Callable[[Settings], Flask], app_settings: Settings, database: Database
) -> Iterator[Callable[..., Shop]]:
    """Make orders with the settings of these stand-ins; at the end, its books balance."""
    made: list[Shop] = []

    def make(*stand_ins: Any, **more: str) -> Shop:
        environment = dict(app_settings.environment) | more
        for each in stand_ins:
            environment |= each.settings()
        settings = Settings.from_environment("orders", environment)
        made.append(Shop(app_of(settings), database, settings))
        return made[-1]

    yield make
    for each in made:
        each.check()


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Let time pass, as orders' clock sees it."""

    def pass_(span: Any) -> None:
        moment = clock.now() + span
        monkeypatch.setattr(clock, "now", lambda: moment)

    return pass_


@pytest.fixture
def cancel(client: FlaskClient, token: Callable[..., dict[str, str]]) -> Callable[[Any], None]:
    """Cancel an order as its shop."""

    def do(order: dict[str, Any]) -> None:
        answer = client.post(
            f"/api/orders/v1/orders/{order['order_id']}/cancel",
            json={"reason": "changed_mind"},
            headers=token("orders:place", subject="shop"),
        )
        assert answer.status_code == 200, answer.text

    return do
