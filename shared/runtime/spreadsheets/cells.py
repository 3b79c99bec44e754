"""Conversion of a cell's text to the value that JSON would have, and back.

A text with two readings is refused. The error tells the user how to write the value.
"""

import re
import unicodedata
from collections.abc import Callable
from datetime import date, datetime, time
from typing import Any, Literal

from marshmallow import fields

from shared.runtime import clock

#: The order of day and month in dates that do not begin with the year.
DateOrder = Literal["dmy", "mdy"]

#: Texts that a spreadsheet program takes for a formula.
_FORMULA = re.compile(r"'*[=+\-@\t\r＝＋－＠]")
_GUARDED = re.compile(r"''*[=+\-@\t\r＝＋－＠]")

_DAY = r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{4}年\d{1,2}月\d{1,2}[日号]"
_TIME = r"(\d{1,2}):(\d{2})(?::(\d{2})(?:\.0+)?)?"
_LOCAL_MOMENT = re.compile(rf"({_DAY})(?:[ T]{_TIME})?")
_THOUSANDS = re.compile(r"-?[1-9]\d{0,2}([,.' ])\d{3}(?:\1\d{3})*")
_YES = frozenset({"yes", "true", "y", "是"})
_NO = frozenset({"no", "false", "n", "否"})


def guarded(text: str) -> str:
    """Return `text`, with an apostrophe in front if a program would take it for a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(text: str) -> str:
    """Return `text` without the apostrophe that `guarded` added."""
    return text[1:] if _GUARDED.match(text) else text


def whole_number(text: str, decimal_comma: bool = False) -> int:
    """Parse a whole number; thousands separators are accepted where they are unambiguous.

    Raises:
        ValueError: it is not a whole number, or has two readings.
    """
    plain = unicodedata.normalize("NFKC", text).strip()
    grouped = _THOUSANDS.fullmatch(plain)
    if grouped:
        sign = grouped[1]
        decimal = sign == "." or (sign == "," and decimal_comma)
        if decimal and plain.count(sign) == 1:
            raise ValueError(f"{text} has two readings; write it without {sign}")
        plain = plain.replace(sign, "")
    plain = re.sub(r"\.0{1,2}$", "", plain)
    if re.fullmatch(r"-?[0-9]{1,19}", plain) is None:
        raise ValueError("is not a whole number; write digits only, such as 12500")
    return int(plain)


def decimal(text: str, decimal_comma: bool = False) -> float:
    """Parse a decimal number without thousands separators.

    Raises:
        ValueError: it is not a number, or has two readings.
    """
    plain = unicodedata.normalize("NFKC", text).strip()
    found = re.fullmatch(r"-?[0-9]{1,15}(?:([.,])[0-9]{1,15})?", plain)
    if found is None:
        raise ValueError("is not a number; write it like 29.87")
    other_sign = found[1] == ("." if decimal_comma else ",")
    if other_sign and re.search(r"[.,][0-9]{3}$", plain):
        raise ValueError(f"{text} may mean thousands; write it with another number of decimals")
    return float(plain.replace(",", "."))


def calendar_date(text: str, order: DateOrder | None = None) -> date:
    """Parse a date that begins with the year, or whose day and month are unambiguous.

    Raises:
        ValueError: it is not a date, or has two readings.
    """
    found = _LOCAL_MOMENT.fullmatch(text)
    if found is not None and all(each in (None, "0", "00") for each in found.groups()[1:]):
        return _day(found[1], order)
    if re.fullmatch(r"\d{8}", text):
        return _day(f"{text[:4]}-{text[4:6]}-{text[6:]}", order)
    raise ValueError(f"is not a date; write it like {clock.today()}")


def _day(text: str, order: DateOrder | None) -> date:
    first, second, third = (int(part) for part in re.findall(r"\d+", text))
    if re.match(r"\d{4}(?!\d)", text):
        return _in_calendar(text, first, second, third)
    if re.search(r"(?<!\d)\d{4}[日号]?$", text) is None:
        raise ValueError(f"{text} has no year of four digits; write it like {clock.today()}")
    if order is None and first <= 12 and second <= 12 and first != second:
        raise ValueError(
            f"{text} has two readings; write the year first, or set dates=dmy or dates=mdy"
        )
    if order == "mdy" or (order is None and second > 12):
        first, second = second, first
    return _in_calendar(text, third, second, first)


def _in_calendar(text: str, year: int, month: int, day: int) -> date:
    try:
        return date(year, month, day)
    except ValueError:
        raise ValueError(f"{text} is not in the calendar") from None


def moment(text: str, order: DateOrder | None = None) -> str:
    """Return a moment in RFC 3339; a time without an offset is in Asia/Shanghai.

    Raises:
        ValueError: the date or time does not exist, or has two readings.
    """
    found = _LOCAL_MOMENT.fullmatch(text)
    if found is None:
        return text  # with an offset, or malformed: the field checks it
    day = _day(found[1], order)
    try:
        time_of_day = time(int(found[2] or 0), int(found[3] or 0), int(found[4] or 0))
    except ValueError:
        raise ValueError(f"{text} has no valid time of day") from None
    return datetime.combine(day, time_of_day, clock.LOCAL).isoformat()


def yes_or_no(text: str) -> bool:
    """Parse yes or no.

    Raises:
        ValueError: it is neither.
    """
    word = text.casefold()
    if word not in _YES | _NO:
        raise ValueError("is neither yes nor no")
    return word in _YES


def reader(
    of: fields.Field[Any], order: DateOrder | None, decimal_comma: bool
) -> Callable[[str], Any]:
    """Return the function that converts a cell to the JSON value of a field of an HTTP schema."""
    if isinstance(of, fields.Integer):
        return lambda text: whole_number(text, decimal_comma)
    if isinstance(of, fields.Float):
        return lambda text: decimal(text, decimal_comma)
    if isinstance(of, fields.Boolean):
        return yes_or_no
    if isinstance(of, fields.DateTime):
        return lambda text: moment(text, order)
    if isinstance(of, fields.Date):
        return lambda text: calendar_date(text, order).isoformat()
    if isinstance(of, fields.List):
        return lambda text: [part for part in re.split(r"[\s,;|/、，；]+", text) if part]
    return str


def written(value: Any) -> Any:
    """Return a value's cell: empty for None, yes or no for a boolean, a list with spaces."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return clock.rfc3339(value)
    if isinstance(value, list | tuple):
        value = " ".join(value)
    return guarded(value) if isinstance(value, str) else value
