"""Which of several dated versions holds at a moment: one rule for all who keep such versions."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, TypeVar


class Dated(Protocol):
    """What holds from a moment on, until another moment if it ends."""

    @property
    def valid_from(self) -> datetime:
        """The moment from which it holds."""

    @property
    def valid_to(self) -> datetime | None:
        """The first moment at which it does not hold any more."""


DatedT = TypeVar("DatedT", bound=Dated)


def in_force(versions: Sequence[DatedT], moment: datetime) -> DatedT | None:
    """Return the version that holds at `moment`: of those begun and not ended the last to begin.

    `versions` are in the order of their beginning. When a version with an end is over, the one
    before it holds again.
    """
    return next(
        (
            version
            for version in reversed(versions)
            if version.valid_from <= moment
            and (version.valid_to is None or moment < version.valid_to)
        ),
        None,
    )
