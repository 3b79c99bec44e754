"""JSON from outside: what means the same to every reader, and is refused or kept when it does not.

Python's own reader takes NaN, keeps the last of two equal keys, makes infinity of 1e400, and fails
where lists are nested too deeply for its stack.
"""

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

#: Lists and objects within each other. Ours have 6; what others say has to be stored and shown.
DEEPEST = 64
#: Digits of a whole number. Fields take 19; Python itself refuses to read or write more than 4300.
_MOST_DIGITS = 4000
#: What a repeated key is called where both values are kept.
AGAIN = " (again)"
#: What stands for a part that is nested too deeply to be kept.
_CUT = '"\\u2026"'
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)


def read(raw: bytes) -> Any:
    """Return what `raw`, JSON in UTF-8 with or without a byte order mark, says.

    Raises:
        ValueError: it is no JSON; or it has a repeated key, a number that is none or too large,
            or more than `DEEPEST` levels. The message says which.
    """
    text = raw.decode("utf-8-sig")
    _cut(text, _refuse_depth)
    return _read(text, _refuse)


def read_flawed(raw: bytes) -> Any:
    """Return what `raw` says, with each flaw in a form that no field takes and a database keeps.

    For uploads whose parts count by themselves: a flaw in one must not void its neighbours. A
    number that is none or too large becomes its text, the second of two equal keys gets another
    name, and what is nested too deeply becomes an ellipsis.

    Raises:
        ValueError: it is no JSON in UTF-8.
    """
    text = _cut(raw.decode("utf-8-sig"), lambda: None)
    return _read(text, lambda text, _: text)


def refuse_repeated(found: dict[str, Any]) -> None:
    """Refuse an object that `read_flawed` found to have a key twice.

    Raises:
        ValueError: it has; the message names the key.
    """
    for key in found:
        if key.endswith(AGAIN):
            raise ValueError(f"the key {key.removesuffix(AGAIN)!r:.100} is there twice")


def _read(text: str, flawed: Callable[[str, str], Any]) -> Any:
    try:
        return json.loads(
            text,
            parse_float=partial(_number, flawed),
            parse_int=partial(_whole, flawed),
            parse_constant=lambda name: flawed(name, f"{name} is no number"),
            object_pairs_hook=partial(_object, flawed),
        )
    except RecursionError:
        raise ValueError("brackets are opened and not closed") from None


def _refuse(text: str, why: str) -> NoReturn:
    raise ValueError(why)


def _refuse_depth() -> NoReturn:
    raise ValueError(f"lists and objects are nested more than {DEEPEST} levels deep")


def _number(flawed: Callable[[str, str], Any], text: str) -> Any:
    """Return 5 for 5.0: JSON has one kind of number, and JSON Schema calls both whole."""
    value = float(text)
    if value in (float("inf"), float("-inf")):
        return flawed(text, f"{text:.20} is larger than any number")
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _whole(flawed: Callable[[str, str], Any], text: str) -> Any:
    if len(text) > _MOST_DIGITS:
        return flawed(text, f"{text:.20}… has {len(text)} digits")
    return int(text)


def _object(flawed: Callable[[str, str], Any], pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    found = {}
    for key, value in pairs:
        while key in found:
            key = flawed(f"{key}{AGAIN}", f"the key {key!r:.100} is there twice")
        found[key] = value
    return found


def _cut(text: str, too_deep: Callable[[], None]) -> str:
    """Return `text` with an ellipsis for whatever is nested more than `DEEPEST` levels deep."""
    if text.count("[") + text.count("{") <= DEEPEST:
        return text
    kept: list[str] = []
    depth = begun = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        if match[0] in "[{":
            depth += 1
            if depth == DEEPEST + 1:
                too_deep()
                kept += [text[begun : match.start()], _CUT]
        elif match[0] in "]}":
            if depth == DEEPEST + 1:
                begun = match.end()
            depth -= 1
    # Brackets that are never closed: no JSON, which its reader then says.
    return "".join([*kept, text[begun:]]) if kept and depth <= DEEPEST else text
