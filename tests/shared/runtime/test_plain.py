"""What is printed neither commands a terminal nor hides in it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.runtime.plain import plain, plain_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("卓嘎 ཀ é 👩‍🌾 ¥1", "卓嘎 ཀ é 👩‍🌾 ¥1"),
        ("\x1b[31m", r"\u001b[31m"),
        ("\x9b2J\x7f", r"\u009b2J\u007f"),
        ("a\nb\tc", r"a\u000ab\u0009c"),
        ("\u202egnp.exe\u2066", r"\u202egnp.exe\u2066"),
        ("a\u200bb\u3000c\u00a0", r"a\u200bb\u3000c\u00a0"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\udb40\udc41"),
    ],
)
def test_what_cannot_be_seen_is_written_as_an_escape(text: str, shown: str) -> None:
    assert plain(text) == shown


@given(st.text(st.characters(codec=None)))
def test_plain_text_is_one_line_and_says_the_same_in_json(text: str) -> None:
    said = json.dumps({"name": text}, ensure_ascii=False, indent=1)

    assert len(plain(text).splitlines()) <= 1
    assert json.loads(plain_lines(said).encode()) == {"name": text}
