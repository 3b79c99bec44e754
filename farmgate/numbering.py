"""Write the international numbering plan for the till, which has no library for phone numbers.

`python -m farmgate.numbering` writes `web/till/static/js/numbering.js` from the phonenumbers
library; with `--check` it only compares, and exits 1 if the file is out of date.
"""

import argparse
import json
import sys
from pathlib import Path

import phonenumbers
from phonenumbers import PhoneMetadata

FILE = Path(__file__).parent.parent / "web" / "till" / "static" / "js" / "numbering.js"
_HEAD = """\
// The world's numbering plan: by calling code, what a number behind it may be. Written by
// `make docs` from the phonenumbers library, which the centre uses; never by hand.

export const PLAN = {
"""
#: Kinds of numbers that a person may have.
_KINDS = (
    "fixed_line",
    "mobile",
    "pager",
    "personal_number",
    "premium_rate",
    "shared_cost",
    "toll_free",
    "uan",
    "voicemail",
    "voip",
)


def written() -> str:
    """Return the file's content."""
    lines = (
        f"  {code}: {json.dumps(_pattern(code))},\n"
        for code in sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
    )
    return f"{_HEAD}{''.join(lines)}}};\n"


def _pattern(code: int) -> str:
    found: set[str] = set()
    for region in phonenumbers.COUNTRY_CODE_TO_REGION_CODE[code]:
        plan = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
        kinds = (getattr(plan, kind) for kind in _KINDS)
        found |= {kind.national_number_pattern for kind in kinds if kind is not None}
    return "|".join(sorted(pattern for pattern in found if pattern))


def main() -> int:
    """Write the file, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    if not parser.parse_args().check:
        FILE.write_text(written(), encoding="utf-8")
    elif FILE.read_text(encoding="utf-8") != written():
        print(f"{FILE} is out of date; run: make docs", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
