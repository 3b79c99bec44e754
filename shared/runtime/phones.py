"""Telephone numbers as people write them, parsed to E.164 or refused with a reason.

The till has the same rule in `web/till/static/js/phones.js`; the cases in
`tests/shared/runtime/phones.json` test both. Letters and extensions are refused.
"""

import re
import unicodedata

import phonenumbers
from phonenumbers import PhoneNumber

from shared.runtime.text import normalised

#: The country code of numbers without one: mainland China.
HOME = "86"
#: Tibetan digits, which NFKC does not change; it does make full-width digits ASCII.
_FIGURES = str.maketrans("༠༡༢༣༤༥༦༧༨༩", "0123456789")
#: Separators: spaces, dots, brackets and all kinds of dashes.
_BETWEEN = r"[ ().·\-\u2010-\u2015\u2212\u30fc]"
_EXTENSION = re.compile(
    r"[0-9][ ;,(]*(?:ext|extn|extension|x|[#,;*]|转|轉|分机|分機|内线|內線)[ .:=]*[0-9]+[^0-9]*$",
    re.IGNORECASE,
)
#: A Chinese subscriber number with an extension after it: `010-65529988-801`.
_DASHED = re.compile(rf"(?:^|[^0-9])[0-9]{{7,8}}{_BETWEEN}+[0-9]{{1,6}}{_BETWEEN}*$")
#: North American form, such as `1-800-356-9377`: without dashes it looks like a Chinese mobile.
_AMERICAN = re.compile(rf"1{_BETWEEN}+[0-9]{{3}}{_BETWEEN}+[0-9]{{3}}{_BETWEEN}+[0-9]{{4}}")
_CODES = frozenset(map(str, phonenumbers.COUNTRY_CODE_TO_REGION_CODE))
_MOBILE = re.compile(r"1[3-9]\d{9}")


class NotAPhone(ValueError):
    """Raised when a text is no telephone number; `problem` is the reason in one word."""

    def __init__(self, problem: str, detail: str) -> None:
        super().__init__(detail)
        self.problem = problem


def e164(text: str) -> str:
    """Return a telephone number in E.164; a number without country code is of mainland China.

    Accepts ASCII, full-width and Tibetan digits, spaces, dashes, dots, brackets, and the prefixes
    `+` and `00`.

    Raises:
        NotAPhone: it has letters or an extension, or the number cannot exist.
    """
    plain = normalised(unicodedata.normalize("NFKC", normalised(text))).translate(_FIGURES)
    if _EXTENSION.search(plain):
        raise _extension()
    figures = re.sub(_BETWEEN, "", plain)
    if not re.fullmatch(r"\+?[0-9]+", figures):
        raise NotAPhone(
            "letters", "A telephone number has figures only; write it without letters or signs."
        )
    if figures.startswith(("+", "00")):
        found = _abroad(figures.removeprefix("+").removeprefix("00"))
    else:
        found = None if _AMERICAN.fullmatch(plain) else _at_home(figures)
    if _DASHED.search(plain) and _may_be_a_land_line(found):
        raise _extension()
    if found is None:
        raise NotAPhone(
            "unknown",
            "No telephone has this number; check its figures. A land line needs its area code, "
            "a foreign number its country's code, such as +977.",
        )
    return found


def _extension() -> NotAPhone:
    return NotAPhone(
        "extension",
        "An extension gets no messages; give the number without it, or a mobile number.",
    )


def _may_be_a_land_line(found: str | None) -> bool:
    if found is None:
        return True
    return found.startswith(f"+{HOME}") and not _MOBILE.fullmatch(found.removeprefix(f"+{HOME}"))


def _at_home(figures: str) -> str | None:
    return _valid(HOME, figures) or _valid(HOME, figures.removeprefix(HOME))


def _abroad(figures: str) -> str | None:
    for length in (1, 2, 3):
        code = figures[:length]
        if code in _CODES:
            return _valid(code, figures[length:])
    return None


def _valid(code: str, national: str) -> str | None:
    """Return the number in E.164 if it can exist, with or without the trunk prefix `0`."""
    for digits in (national, national.removeprefix("0")):
        if not digits:
            continue
        zeros = len(digits) - len(digits.lstrip("0"))
        number = PhoneNumber(
            country_code=int(code),
            national_number=int(digits),
            italian_leading_zero=zeros > 0 or None,
            number_of_leading_zeros=zeros if zeros > 1 else None,
        )
        if phonenumbers.is_valid_number(number):
            return f"+{code}{digits}"
    return None
