"""How many examples the tests that try things at random try."""

from hypothesis import settings

#: What Hypothesis tries unless told otherwise, in `make test` and in a `pytest` without servers.
FULL, PLAIN = 100, 25


def choose(*, servers: bool) -> None:
    """Choose the number for this run, before test modules ask for it."""
    settings.register_profile("full", settings.default, max_examples=FULL)
    settings.register_profile("plain", settings.default, max_examples=PLAIN)
    settings.load_profile("full" if servers else "plain")


def examples(full: int) -> int:
    """Return how many examples a test tries that tries `full` in `make test`."""
    assert settings.default is not None
    return max(1, full * settings.default.max_examples // FULL)
