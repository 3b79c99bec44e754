"""Pauses grow, and stop growing."""

from datetime import timedelta

from shared.runtime.backoff import pause_after


def test_pauses_double_up_to_a_limit_in_seconds_and_in_spans() -> None:
    assert [pause_after(n, 0.5, 3.0) for n in range(1, 6)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert pause_after(2, timedelta(seconds=30), timedelta(hours=2)) == timedelta(minutes=1)


def test_what_fails_for_days_is_still_tried_again() -> None:
    assert pause_after(1_000_000, 0.5, 10.0) == 10.0
    assert pause_after(1_000_000, timedelta(seconds=2), timedelta(hours=1)) == timedelta(hours=1)
