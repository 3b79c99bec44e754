"""A device of a station: its states, and its one-time code."""

import secrets
import unicodedata
from enum import StrEnum

from shared.runtime.ids import ALPHABET

#: Letters of a code: 31^10 are 8e14, of which a handful live for a day each.
CODE_LETTERS = 10


class DeviceStatus(StrEnum):
    """Whether a machine stands for the device."""

    NEW = "new"
    ACTIVE = "active"
    #: Its keys count no more; a new machine can still be enrolled in its place.
    REVOKED = "revoked"


def new_code() -> str:
    """Return a new enrolment code such as `7KQ2M-9XHAB`."""
    letters = "".join(secrets.choice(ALPHABET) for _ in range(CODE_LETTERS))
    return f"{letters[: CODE_LETTERS // 2]}-{letters[CODE_LETTERS // 2 :]}"


def plain_code(written: str) -> str:
    """Return a code as it counts: in capitals, of any width, without dashes and spaces."""
    return "".join(unicodedata.normalize("NFKC", written).split()).replace("-", "").upper()
