"""Strict parsing of JSON from outside: ambiguous JSON is refused, or its flaws are marked.

Python's parser accepts NaN, keeps only the last of two equal keys, reads 1e400 as infinity, and
overflows the stack when lists are nested deeply.
"""

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

#: Levels of nested lists and objects. Our requests have 6.
DEEPEST = 64
#: Digits of a whole number. Fields accept 19; Python itself refuses more than 4300.
_MOST_DIGITS = 4000
#: The suffix of a repeated key when both values are kept.
AGAIN = " (again)"
#: Replaces a part that is nested too deeply.
_CUT = '"\\u2026"'
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)


def read(raw: bytes) -> Any:
    """Parse JSON in UTF-8, with or without a byte order mark.

    Raises:
        ValueError: it is no JSON, or it has a repeated key, NaN, a number that is too large, or
            more than `DEEPEST` levels. The message names the flaw.
    """
    text = raw.decode("utf-8-sig")
    _cut(text, _refuse_depth)
    return _read(text, _refuse)


def read_flawed(raw: bytes) -> Any:
    """Parse JSON and replace each flaw by a value that no field accepts and every database stores.

    For uploads whose parts are validated one by one: a flaw in one must not refuse the others. NaN
    and a number that is too large become text, the second of two equal keys is renamed, and a part
    that is nested too deeply becomes an ellipsis.

    Raises:
        ValueError: it is no JSON in UTF-8.
    """
    text = _cut(raw.decode("utf-8-sig"), lambda: None)
    return _read(text, lambda text, _: text)


def refuse_repeated(found: dict[str, Any]) -> None:
    """Refuse an object from `read_flawed` in which a key was repeated.

    Raises:
        ValueError: a key was repeated; the message names it.
    """
    for key in found:
        if key.endswith(AGAIN):
            raise ValueError(f"the key {key.removesuffix(AGAIN)!r:.100} appears twice")


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
        raise ValueError("brackets are not closed") from None


def _refuse(text: str, why: str) -> NoReturn:
    raise ValueError(why)


def _refuse_depth() -> NoReturn:
    raise ValueError(f"lists and objects are nested more than {DEEPEST} levels deep")


def _number(flawed: Callable[[str, str], Any], text: str) -> Any:
    """Return 5 for 5.0: in JSON Schema both are integers."""
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
            key = flawed(f"{key}{AGAIN}", f"the key {key!r:.100} appears twice")
        found[key] = value
    return found


def _cut(text: str, too_deep: Callable[[], None]) -> str:
    """Return `text` with an ellipsis for each part nested more than `DEEPEST` levels deep."""
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
    # Unclosed brackets: the text stays as it is, and the parser refuses it.
    return "".join([*kept, text[begun:]]) if kept and depth <= DEEPEST else text
