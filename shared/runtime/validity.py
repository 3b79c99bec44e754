"""Dated versions, such as prices: the rule for which version is in force at a moment."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, TypeVar


class Dated(Protocol):
    """A version that is in force from one moment on, and possibly until another."""

    @property
    def valid_from(self) -> datetime:
        """The first moment at which it is in force."""

    @property
    def valid_to(self) -> datetime | None:
        """The first moment at which it is no longer in force; None: it has no end."""


DatedT = TypeVar("DatedT", bound=Dated)


def in_force(versions: Sequence[DatedT], moment: datetime) -> DatedT | None:
    """Return the version in force at `moment`: the latest that has begun and not ended, or None.

    `versions` are sorted by `valid_from`. When a version with an end is over, the version before it
    is in force again.
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
