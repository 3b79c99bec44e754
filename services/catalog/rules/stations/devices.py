"""A device of a station: its states, and its one-time code."""

import secrets
import unicodedata
from enum import StrEnum

from shared.runtime.ids import ALPHABET

#: Letters of a code: of 31^10 (8e14) codes only a few are valid at a time, for a day each.
CODE_LETTERS = 10


class DeviceStatus(StrEnum):
    """Whether a device has a machine."""

    NEW = "new"
    ACTIVE = "active"
    #: Its keys are revoked; a new machine can still be enrolled.
    REVOKED = "revoked"


def new_code() -> str:
    """Return a new enrolment code such as `7KQ2M-9XHAB`."""
    letters = "".join(secrets.choice(ALPHABET) for _ in range(CODE_LETTERS))
    return f"{letters[: CODE_LETTERS // 2]}-{letters[CODE_LETTERS // 2 :]}"


def plain_code(written: str) -> str:
    """Return the normal form of a code: capitals, without dashes and spaces (NFKC)."""
    return "".join(unicodedata.normalize("NFKC", written).split()).replace("-", "").upper()
