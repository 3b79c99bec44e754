"""Processes that hang or are stopped, and go on too late."""

import signal
import urllib.request

import pytest
from sqlalchemy import text

from tests.faults.bench import DRAINED, ORDERS, Bench, Worker, all_kept
from tests.faults.worker import FREEZES, SPINS, WAITS
from tests.support.servers import free_port, wait_until

pytestmark = [pytest.mark.broker, pytest.mark.postgres]

#: Starts after which an event that hangs must be out of the way.
STARTS = 10


def working_seconds(port: int) -> float:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return 0.0
    found = [line for line in lines if line.startswith("farmgate_working_seconds{")]
    return max((float(line.split()[-1]) for line in found), default=0.0)


def publish(bench: Bench) -> None:
    with bench.relaying():
        wait_until(lambda: bench.waiting() == 0, DRAINED, "everything is published")


def has_ended(worker: Worker) -> bool:
    return worker.process.poll() is not None


# --- A handler that hangs -------------------------------------------------------------------------


def test_an_event_that_hangs_is_told_and_parked_and_its_neighbours_take_effect_in_order(
    bench: Bench,
) -> None:
    bench.pay_all(2)
    hanging = bench.pay_once(WAITS)
    bench.pay_all(1)
    publish(bench)
    metrics, starts = free_port(), 0
    kept = [done for done in bench.acknowledged if done[0] != f"order/{hanging}"]
    others = len(kept)
    aside = [("killed_worker", "dead"), ("behind", "behind")]

    def done() -> bool:
        return bench.effects() == others and bench.parked() == aside

    while not done() and starts < STARTS:
        starts += 1
        with bench.worker(
            "notifications", FARMGATE_HANG_SECONDS="1", FARMGATE_METRICS_PORT=str(metrics)
        ) as worker:
            if starts == 1:
                wait_until(lambda: working_seconds(metrics) > 0.3, DRAINED, "the metric rises")
            wait_until(
                lambda worker=worker: has_ended(worker) or done(),  # type: ignore[misc]
                DRAINED,
                "the worker ends or is done",
            )
            assert worker.process.poll() in (None, 70)
            log = worker.log()

    assert bench.parked() == aside
    assert "the process ends" in log and "on_order_paid at worker.py" in log
    bench.acknowledged = kept
    assert bench.verdict() == all_kept(others)
    assert bench.depth("notifications.events.dead") == 0


def test_a_worker_whose_interpreter_never_lets_go_ends_and_says_where(bench: Bench) -> None:
    bench.pay_once(SPINS)
    publish(bench)

    with bench.worker("notifications", FARMGATE_HANG_SECONDS="1") as worker:
        wait_until(lambda: has_ended(worker), DRAINED, "the worker ends")

        assert worker.process.returncode == 1
        assert "in on_order_paid" in worker.log()
    assert bench.effects() == 0


# --- A process that is asked to end ---------------------------------------------------------------


def test_a_consumer_that_ends_gives_back_what_it_has_in_hand_in_order(bench: Bench) -> None:
    bench.pay_all(200)
    publish(bench)
    for handled in (1, ORDERS * 60):
        with bench.listening():
            wait_until(
                lambda handled=handled: bench.effects() >= handled,  # type: ignore[misc]
                DRAINED,
                "it is in the middle of the queue",
            )
        assert bench.effects() < len(bench.acknowledged)

    bench.drain()
    assert bench.verdict() == all_kept(ORDERS * 200 + 1)


# --- A process that was stopped and goes on -------------------------------------------------------


def test_a_relay_stopped_past_its_lock_cannot_mark_and_nothing_is_twice(bench: Bench) -> None:
    bench.pay_all(2)
    with bench.worker("orders", "frozen", FREEZE_AT="mark") as frozen:
        wait_until(frozen.is_stopped, DRAINED, "it published, and was stopped before it marked")
        assert bench.positions() == [None] * (ORDERS * 2)
        with bench.worker("orders", "second"):
            bench.pay_all(2)
            wait_until(lambda: bench.waiting() == 0, DRAINED, "the second relay took over")

            frozen.process.send_signal(signal.SIGCONT)
            wait_until(
                lambda: '"loop": "relay"' in frozen.log(), DRAINED, "its mark is refused, and told"
            )
            bench.pay_all(1)
            wait_until(lambda: bench.waiting() == 0, DRAINED, "all is published")
            assert frozen.process.poll() is None

    assert bench.positions() == list(range(1, ORDERS * 5 + 1))
    bench.drain()
    assert bench.verdict() == all_kept(ORDERS * 5 + 1)


@pytest.mark.parametrize("comes_back", ["in time", "too late"])
def test_a_consumer_stopped_past_its_turn_changes_nothing_twice(
    bench: Bench, comes_back: str
) -> None:
    bench.pay_all(1)
    bench.pay_once(FREEZES)
    publish(bench)
    settings = {"FARMGATE_BROKER_URL": f"{bench.url}?heartbeat=2", "FREEZE_AT": "handler"}
    settings["SILENT_SECONDS"] = "30" if comes_back == "in time" else "2"
    with bench.worker("notifications", "frozen", **settings) as frozen:
        wait_until(frozen.is_stopped, DRAINED, "it was stopped in the middle of its batch")
        with bench.worker("notifications", "second"):
            if comes_back == "in time":
                wait_until(
                    lambda: waits_for_a_turn(bench), DRAINED, "the second waits for its turn"
                )
            else:
                wait_until(
                    lambda: bench.effects() == ORDERS + 1, DRAINED, "the second has the turn"
                )
            frozen.process.send_signal(signal.SIGCONT)
            bench.pay_all(1)
            publish(bench)
            everything = len(bench.acknowledged)
            wait_until(lambda: bench.effects() == everything, DRAINED, "everything has arrived")
            wait_until(
                lambda: '"loop": "consumer"' in frozen.log(), DRAINED, "it saw what it missed"
            )

    bench.drain()
    assert bench.verdict() == all_kept(len(bench.acknowledged))
    assert bench.parked() == []


def waits_for_a_turn(bench: Bench) -> bool:
    waiting = text(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    with bench.receiver.readers() as session:
        return bool(session.scalar(waiting))
