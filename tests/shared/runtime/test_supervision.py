"""Loops that fail are started again: soon, then less often, and soon again after they ran well."""

from collections.abc import Callable, Sequence

import pytest

from shared.runtime import supervision
from shared.runtime.supervision import FIRST_PAUSE, LONGEST_PAUSE, Stopping, supervise


class Counting(Stopping):
    """Set after so many pauses; waits for none of them, but notes how long each was to be."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.pauses: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.pauses.append(timeout)
        if len(self.pauses) == self.most:
            self.set()
        return self.is_set()


@pytest.fixture
def pauses_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[float]], list[float]]:
    """Let a loop run for so many seconds each time before it fails; return the pauses between."""
    moment = 0.0

    def pauses(runs: Sequence[float]) -> list[float]:
        left, stopping = list(runs), Counting(len(runs))
        failures: list[BaseException] = []

        def loop() -> None:
            nonlocal moment
            moment += left.pop(0)
            raise RuntimeError("as it does each time")

        supervise("loop", loop, stopping, failures.append).join(10)
        assert len(failures) == len(runs)
        return stopping.pauses

    monkeypatch.setattr(supervision, "monotonic", lambda: moment)
    monkeypatch.setattr("random.uniform", lambda low, high: 1.0)
    return pauses


def test_a_loop_that_fails_at_once_is_started_less_and_less_often_but_never_given_up(
    pauses_of: Callable[[Sequence[float]], list[float]],
) -> None:
    pauses = pauses_of([0.0] * 9)

    assert pauses[:3] == [FIRST_PAUSE, FIRST_PAUSE * 2, FIRST_PAUSE * 4]
    assert pauses[-2:] == [LONGEST_PAUSE, LONGEST_PAUSE]


def test_a_loop_that_ran_well_for_longer_than_the_longest_pause_is_started_again_soon(
    pauses_of: Callable[[Sequence[float]], list[float]],
) -> None:
    pauses = pauses_of([0.0, 0.0, 0.0, LONGEST_PAUSE - 1, LONGEST_PAUSE + 1, 0.0])

    assert pauses[3] == FIRST_PAUSE * 8
    assert pauses[4:] == [FIRST_PAUSE, FIRST_PAUSE * 2]


def test_a_library_that_exits_ends_no_loop() -> None:
    stopping = Counting(1)

    def loop() -> None:
        raise SystemExit("of a library")

    supervise("loop", loop, stopping).join(10)

    assert len(stopping.pauses) == 1
