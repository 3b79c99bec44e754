"""When a consumer begins its next batch, and what it waits for."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from shared.events import OrderConfirmed, OrderPlaced
from shared.messaging import consumer
from shared.messaging.service import Service


@pytest.fixture
def pace(monkeypatch: pytest.MonkeyPatch) -> consumer._Pace:
    monkeypatch.setattr(consumer, "monotonic", iter((100.0, 100.02)).__next__)
    made = consumer._Pace(Service("catalog", {}, awaited=(OrderPlaced,)))
    with made.batch():
        pass
    return made


def test_a_consumer_rests_for_twice_its_batch_if_a_client_waits_and_gathers_otherwise(
    pace: consumer._Pace,
) -> None:
    assert pace.next(awaited=True) == pytest.approx(100.06)
    assert pace.next(awaited=False) == pytest.approx(100.02 + consumer.PAUSE)


@pytest.mark.parametrize(("contract", "awaited"), [(OrderPlaced, True), (OrderConfirmed, False)])
def test_the_service_says_for_which_events_a_client_waits(
    pace: consumer._Pace, contract: Any, awaited: bool
) -> None:
    message = SimpleNamespace(delivery_info={"routing_key": contract.routing_key})

    assert pace.awaits(message) == awaited


def test_after_a_silence_an_event_is_taken_at_once() -> None:
    waits: list[float] = []

    def drain_events(timeout: float) -> None:
        waits.append(timeout)
        if len(waits) > 1:
            time.sleep(timeout)
            raise TimeoutError
        arrived.append(SimpleNamespace(delivery_info={"routing_key": "a"}))

    arrived: list[Any] = []
    connection = SimpleNamespace(drain_events=drain_events, heartbeat_check=lambda: None)

    consumer._gather(connection, arrived, consumer._Pace(Service("catalog", {})))

    assert len(arrived) == 1
    assert sum(waits[1:]) <= consumer.BURST
