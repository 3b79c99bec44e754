"""JSON that says one thing to every reader; or, kept with its flaws, nothing that a field takes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.runtime import strict_json

DEEP = strict_json.DEEPEST
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_what_has_no_flaw_is_read_as_it_was_written(value: Any) -> None:
    raw = json.dumps(value).encode()

    assert strict_json.read(raw) == strict_json.read_flawed(raw) == value


@pytest.mark.parametrize(
    ("raw", "why", "kept"),
    [
        ('{"a": NaN}', "NaN is no number", {"a": "NaN"}),
        ('{"a": [-Infinity]}', "-Infinity is no number", {"a": ["-Infinity"]}),
        ('{"a": 1e400}', "1e400 is larger", {"a": "1e400"}),
        ('{"a": -1e400}', "-1e400 is larger", {"a": "-1e400"}),
        ('{"a": 1, "a": 2}', "the key 'a' appears twice", {"a": 1, "a (again)": 2}),
        (
            '{"b": {"a": 1, "a": 2, "a": 2}}',
            "the key 'a' appears twice",
            {"b": {"a": 1, "a (again)": 2, "a (again) (again)": 2}},
        ),
        ("9" * 5000, "has 5000 digits", "9" * 5000),
    ],
    ids=lambda part: str(part)[:20],
)
def test_a_flaw_is_refused_by_name_or_kept_as_what_no_field_takes(
    raw: str, why: str, kept: Any
) -> None:
    with pytest.raises(ValueError, match=why):
        strict_json.read(raw.encode())

    assert strict_json.read_flawed(raw.encode()) == kept


@pytest.mark.parametrize("levels", [DEEP + 1, 900, 1100, 200_000])
def test_what_is_nested_too_deeply_is_refused_or_cut_and_its_neighbours_stay(levels: int) -> None:
    inner = "[" * (levels - 1) + '"]\\"["' + "]" * (levels - 1)
    raw = f'["before", {inner}, {{"after": 1}}]'.encode()

    with pytest.raises(ValueError, match=f"more than {DEEP} levels"):
        strict_json.read(raw)

    before, cut, after = strict_json.read_flawed(raw)
    assert (before, after) == ("before", {"after": 1})
    for _ in range(DEEP - 1):
        (cut,) = cut
    assert cut == "…"


def test_the_deepest_that_is_allowed_is_read_whole() -> None:
    raw = b"[" * DEEP + b"]" * DEEP

    assert strict_json.read(raw) == strict_json.read_flawed(raw) == json.loads(raw)


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[" * 100_000, b"]", b'{"a"}', b"\xff", b'{"a": 1}}', b'"' + b"\\" * 1001],
    ids=lambda raw: str(raw[:9]),
)
def test_what_is_no_json_is_refused_by_both(raw: bytes) -> None:
    for read in (strict_json.read, strict_json.read_flawed):
        with pytest.raises(ValueError):
            read(raw)


def test_a_byte_order_mark_is_skipped() -> None:
    assert strict_json.read(b'\xef\xbb\xbf{"a": 5.0}') == {"a": 5}
