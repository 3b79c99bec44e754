"""`farmgate orders`: what waits for an operator, and the operator's word."""

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from click.testing import Result

from tests.farmgate.conftest import Stand

Farmgate = Callable[..., Result]

ORDER = {
    "order_id": str(uuid4()),
    "order_ref": "ORD-7KQ2M9XH",
    "placed_at": "2026-11-30T02:00:00Z",
    "channel": "online",
    "buyer_id": "[/x]shop:b-17",
    "masked_phone": "+86138******00",
    "payment_method": "cash_on_delivery",
    "approval_reason": "open_value",
    "total_fen": 117_436_000,
}


@pytest.fixture(autouse=True)
def _asks_the_stand(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARMGATE_URL", stand.url)
    monkeypatch.setenv("FARMGATE_TOKEN", "token")


def page(*orders: dict[str, Any]) -> tuple[int, Any]:
    return 200, {"items": list(orders), "next": None}


def test_what_waits_for_approval_is_shown_with_what_it_costs(
    farmgate: Farmgate, stand: Stand
) -> None:
    stand.answers = [page(ORDER), page(ORDER)]

    shown, as_json = farmgate("orders", "waiting"), farmgate("orders", "waiting", "--json")

    assert shown.exit_code == 0, shown.output
    for word in ("ORD-7KQ2M9XH", "open_value", "¥1,174,360.00", "farmgate orders approve"):
        assert word in shown.output
    assert json.loads(as_json.stdout) == [ORDER]
    assert "awaits_approval=True" in stand.requests[0].path


def test_nothing_that_waits_is_said_in_words(farmgate: Farmgate, stand: Stand) -> None:
    stand.answers = [page()]

    assert farmgate("orders", "waiting").output == "No order waits for approval.\n"


@pytest.mark.parametrize(("word", "done"), [("approve", "approved"), ("decline", "declined")])
def test_an_order_is_decided_by_its_reference(
    farmgate: Farmgate, stand: Stand, word: str, done: str
) -> None:
    stand.answers = [page(ORDER), (200, ORDER)]

    result = farmgate("orders", word, "ORD-7KQ2M9XH")

    assert result.exit_code == 0, result.output
    assert f"ORD-7KQ2M9XH is {done}" in result.output
    request = stand.requests[-1]
    path = f"/api/orders/v1/orders/{ORDER['order_id']}/{word}"
    assert (request.method, request.path) == ("POST", path)


def test_what_cannot_be_decided_is_told_with_the_reason(farmgate: Farmgate, stand: Stand) -> None:
    problem = {
        "type": "/problems/nothing-to-approve",
        "title": "Nothing to approve",
        "status": 409,
        "detail": "Order ORD-7KQ2M9XH is confirmed and waits for no approval.",
    }
    stand.answers = [page(ORDER), (409, problem)]

    result = farmgate("orders", "approve", "ORD-7KQ2M9XH")

    assert result.exit_code == 1
    assert "waits for no approval" in result.output
