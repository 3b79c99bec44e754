"""How many examples the tests that try things at random try."""

from hypothesis import HealthCheck, settings

#: What Hypothesis tries unless told otherwise, in `make test` and in a `pytest` without servers.
FULL, PLAIN = 100, 25


def choose(*, servers: bool) -> None:
    """Choose the number for this run, before test modules ask for it."""
    # Whether a data generator is fast depends on what else runs on the machine.
    any_speed = [HealthCheck.too_slow]
    for name, number in {"full": FULL, "plain": PLAIN}.items():
        settings.register_profile(
            name, settings.default, max_examples=number, suppress_health_check=any_speed
        )
    settings.load_profile("full" if servers else "plain")


def examples(full: int) -> int:
    """Return how many examples a test tries that tries `full` in `make test`."""
    assert settings.default is not None
    return max(1, full * settings.default.max_examples // FULL)
