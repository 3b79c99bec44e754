"""A poison event is given other data: it counts once, as edited, with its followers in order."""

import pytest
from sqlalchemy import select

from shared.messaging import repairs
from shared.messaging.tables import Outbox, Parked
from tests.faults.bench import DRAINED, ORDERS, PAID, Bench, all_kept
from tests.support import probe
from tests.support.servers import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.postgres]


def edit_the_first(bench: Bench) -> bool:
    """Edit the poison event, unless the worker is just trying it again."""
    with bench.receiver.sessions.begin() as session:
        first = session.scalars(select(Parked.event_id).order_by(Parked.arrival).limit(1)).one()
        try:
            repairs.edit(session, first, "operator", "a typing error", changes={"amount_fen": 5})
        except repairs.BeingHandled:
            return False
    return True


def test_an_edited_poison_event_takes_effect_once_and_what_waited_behind_it_follows_in_order(
    bench: Bench,
) -> None:
    poisoned = next(iter(bench.orders))
    bench.pay(poisoned, amount_fen=probe.FAILS)
    bench.pay_all(times=2)
    with bench.relaying(), bench.worker("notifications"):
        wait_until(lambda: len(bench.parked()) == 3, DRAINED, "the poison and two behind it")
        wait_until(lambda: bench.effects() == 2 * (ORDERS - 1), DRAINED, "all others go on")

        wait_until(lambda: edit_the_first(bench), DRAINED, "the event is edited")

        wait_until(lambda: bench.parked() == [], DRAINED, "nothing waits any more")
    with bench.sender.readers() as session:
        published = session.scalars(select(Outbox.body).order_by(Outbox.id)).first()
    assert published is not None
    with bench.channel() as channel:  # the broker brings the event once more, as it was published
        channel.confirm_delivery()
        channel.basic_publish("events", PAID, bytes(published), mandatory=True)
    bench.drain()

    assert bench.verdict() == all_kept(2 * ORDERS + 2)
    amounts = [
        effect.amount_fen
        for effect in probe.effects(bench.receiver)
        if effect.subject == f"order/{poisoned}"
    ]
    assert amounts == [5, 1, 1]
    assert bench.parked() == []
