"""One form for texts that look the same."""

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from shared.runtime.schemas import Day, Moment, RequestSchema, Text
from shared.runtime.text import normalised

#: Tried here and in the till, whose JavaScript has the same rule.
CASES = json.loads((Path(__file__).parent / "texts.json").read_text("utf-8"))


class Labelled(RequestSchema):
    """A request with a label of at most five characters."""

    label = Text(5, required=True)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["why"])
def test_text_gets_the_form_of_the_table(case: dict[str, str]) -> None:
    assert normalised(case["typed"]) == case["kept"]


#: Characters that the rule treats in their own ways, so that they meet each other often.
ODD = st.sampled_from(
    "a\u0301e\u00e9 \u00a0\u3000\u200b\u200c\u200d\ufe0f\u094d\u0915"
    "\u0dd9\u0dca\u0dcf☺\ud800\n=\u0338"
)


@given(st.text() | st.text(ODD))
def test_a_normalised_text_is_in_nfc_and_has_nothing_left_to_normalise(text: str) -> None:
    once = normalised(text)

    assert normalised(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert once == once.strip()
    assert "  " not in once


@pytest.mark.parametrize("label", ["abcde", "  abcde\u3000", "abc\u200bde", "e\u0301" * 5])
def test_a_length_counts_what_is_kept(label: str) -> None:
    assert Labelled().load({"label": label}) == {"label": normalised(label)}


@pytest.mark.parametrize("label", ["", "   ", "\u3000\u3000", "\u200b", "\ufe0f", "abcdef", "a\0"])
def test_a_blank_or_overlong_or_unstorable_text_is_refused(label: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Labelled().load({"label": label})

    assert list(refused.value.messages_dict) == ["label"]


@pytest.mark.parametrize("day", ["1900-01-01", "2199-12-31"])
def test_the_first_and_the_last_day_are_dates(day: str) -> None:
    assert Day().deserialize(day).isoformat() == day


@pytest.mark.parametrize(
    "day", ["1899-12-31", "2200-01-01", "0001-01-01", "9999-12-31", "10000-01-01"]
)
def test_a_day_outside_the_calendar_is_refused(day: str) -> None:
    with pytest.raises(ValidationError):
        Day().deserialize(day)


@pytest.mark.parametrize("moment", ["1900-01-01T00:00:00Z", "2199-12-31T23:59:59.999999Z"])
def test_the_first_and_the_last_moment_are_moments(moment: str) -> None:
    assert Moment().deserialize(moment).isoformat() == moment.replace("Z", "+00:00")


@pytest.mark.parametrize(
    "moment",
    [
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-12:00",
        "1900-01-01T00:00:00+08:00",
        "2200-01-01T00:00:00Z",
        "2026-11-30T09:00:00",
    ],
)
def test_a_moment_outside_the_calendar_or_without_an_offset_is_refused(moment: str) -> None:
    with pytest.raises(ValidationError):
        Moment().deserialize(moment)
