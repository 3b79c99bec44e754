"""When an attempt is repeated, and what it means for its endpoint."""

from datetime import UTC, datetime, timedelta

import pytest

from services.notifications.rules.webhooks import (
    LAST_PAUSE,
    PAUSES,
    Answer,
    Health,
    health_after,
    next_try,
)

MOMENT = datetime(2026, 8, 20, tzinfo=UTC)
OK, FAILED, GONE = Answer(200, None, 5), Answer(500, "http_500", 5), Answer(410, "gone", 5)


def test_retries_take_three_days_and_then_one_a_day():
    moment = MOMENT
    for attempts in range(1, len(PAUSES) + 1):
        moment = next_try(attempts, FAILED, moment, 0)
    assert timedelta(days=2, hours=20) < moment - MOMENT < timedelta(days=3, hours=4)
    assert next_try(len(PAUSES) + 1, FAILED, moment, 0) - moment == LAST_PAUSE
    assert next_try(200, FAILED, moment, 0) - moment == LAST_PAUSE


@pytest.mark.parametrize("jitter", [-1, -0.3, 0.7, 1])
def test_jitter_moves_a_pause_by_a_tenth_at_most(jitter):
    pause = next_try(4, FAILED, MOMENT, jitter) - MOMENT
    assert abs(pause - PAUSES[3]) <= PAUSES[3] * 0.1 and pause != PAUSES[3]


def test_retry_after_makes_a_pause_longer_never_shorter_and_at_most_a_day():
    def pause(seconds: int) -> timedelta:
        wait = timedelta(seconds=seconds)
        return next_try(1, Answer(503, "http_503", 5, wait), MOMENT, 0) - MOMENT

    assert (pause(1), pause(90)) == (timedelta(seconds=5), timedelta(seconds=90))
    assert pause(10**7) == timedelta(hours=24)


def test_a_success_ends_every_doubt():
    health = Health(failures=9, failing_since=MOMENT, paused_until=MOMENT)
    assert health_after(health, OK, MOMENT, first=False) == Health()


def test_one_event_that_fails_again_and_again_does_not_pause_the_endpoint():
    health = Health()
    for attempt in range(8):
        health = health_after(health, FAILED, MOMENT, first=attempt == 0)
    assert health.failures == 1 and health.paused_until is None


def test_several_events_that_fail_pause_it_for_longer_and_longer():
    health, pauses = Health(), []
    for _ in range(14):
        health = health_after(health, FAILED, MOMENT, first=True)
        pauses.append(health.paused_until and (health.paused_until - MOMENT).total_seconds())
    assert pauses == [None] * 4 + [5, 10, 20, 40, 80, 160, 300, 300, 300, 300]


def test_after_three_days_of_failures_it_is_suspended():
    health = health_after(Health(), FAILED, MOMENT, first=True)
    soon = health_after(health, FAILED, MOMENT + timedelta(hours=71), first=False)
    late = health_after(health, FAILED, MOMENT + timedelta(hours=72), first=False)
    assert soon.status == "active"
    assert (late.status, late.reason, late.paused_until) == ("suspended", "failing", None)


def test_410_disables_at_once():
    health = health_after(Health(), GONE, MOMENT, first=True)
    assert (health.status, health.reason) == ("disabled", "gone")


@pytest.mark.parametrize("answer", [OK, FAILED, GONE])
def test_an_answer_to_an_endpoint_that_is_not_active_changes_nothing(answer):
    suspended = Health("suspended", "asked")
    assert health_after(suspended, answer, MOMENT, first=True) == suspended
