"""Telephone numbers are read as people write them, or refused with the reason."""

import json
from pathlib import Path

import phonenumbers
import pytest
from phonenumbers import PhoneNumberFormat

from farmgate import numbering
from shared.runtime.phones import NotAPhone, e164

#: Tried here and in the till, whose JavaScript has the same rule.
CASES = json.loads((Path(__file__).parent / "phones.json").read_text("utf-8"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["why"])
def test_a_telephone_number_is_read_or_refused_as_the_table_says(case: dict[str, str]) -> None:
    if "kept" in case:
        assert e164(case["typed"]) == case["kept"]
        return
    with pytest.raises(NotAPhone) as refused:
        e164(case["typed"])
    assert refused.value.problem == case["problem"]


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_a_number_of_any_country_is_read_with_its_countrys_code(region: str) -> None:
    number = phonenumbers.example_number(region)
    assert number is not None
    written = phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL)

    assert e164(written) == phonenumbers.format_number(number, PhoneNumberFormat.E164)


def test_the_tills_numbering_plan_is_the_librarys() -> None:
    assert numbering.FILE.read_text("utf-8") == numbering.written()
