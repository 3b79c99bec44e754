"""`farmgate import` and `farmgate export` against running services."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from farmgate.client import Client

# One system for all of them, so one worker.
pytestmark = [pytest.mark.xdist_group("spreadsheets_command"), pytest.mark.usefixtures("world")]

Farmgate = Callable[..., Result]


@pytest.mark.parametrize("kind", ["sites", "enterprises", "products", "prices", "lots", "stock"])
def test_an_export_can_be_imported_and_changes_nothing(
    farmgate: Farmgate, lot: dict[str, str], tmp_path: Path, kind: str
) -> None:
    file = tmp_path / "any.csv"

    farmgate("export", kind, "-o", str(file))
    answer = json.loads(farmgate("import", str(file), "--json").stdout)

    assert file.read_bytes().startswith(b"\xef\xbb\xbf")
    assert answer["rows"] == answer["unchanged"] > 0


def test_an_export_goes_to_standard_output_in_utf_8(farmgate: Farmgate) -> None:
    done = farmgate("export", "enterprises")

    assert done.stdout_bytes.decode("utf-8-sig").startswith("enterprise,name_zh,")
    assert "巴河镇".encode() in done.stdout_bytes


def test_mistakes_are_listed_by_line_and_nothing_is_imported(
    farmgate: Farmgate, client: Client, tmp_path: Path
) -> None:
    file = tmp_path / "new.csv"
    rows = "enterprise;name_zh;roles\n\nP-7;扎西;producer\nP-8;;farmer\n"
    file.write_bytes(rows.encode("gb18030"))

    done = farmgate("import", str(file), code=1)

    assert "line 4, name_zh: is empty" in done.stdout
    assert "line 4, roles: " in done.stdout
    assert not client.get("catalog", "/enterprises", code="P-7")["items"]


def test_a_dry_run_shows_the_difference_and_changes_nothing(
    farmgate: Farmgate, lot: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "stock.csv"
    farmgate("export", "stock", "-o", str(file))
    exported = file.read_text("utf-8-sig")
    (line,) = [each for each in exported.splitlines() if each.startswith(lot["code"])]
    book = line.split(",")[2]
    counted = line.replace(f",{book},", f",{int(book) - 500},", 1)
    file.write_text(exported.replace(line, counted), "utf-8")

    tried = farmgate("import", str(file), "--dry-run")
    farmgate("export", "stock", "-o", str(tmp_path / "after.csv"))
    farmgate("import", str(file))
    farmgate("export", "stock", "-o", str(tmp_path / "later.csv"))

    assert "-500" in tried.stdout and "1 would be changed" in tried.stdout
    assert f"\n{line.rsplit(',', 2)[0]}," in (tmp_path / "after.csv").read_text("utf-8-sig")
    assert f"\n{lot['code']},C,{int(book) - 500}," in (tmp_path / "later.csv").read_text("utf-8")


def test_a_header_that_tells_nothing_needs_the_kind(farmgate: Farmgate, tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("a,b\n1,2\n")

    unsure = farmgate("import", str(file), code=1)
    named = farmgate("import", str(file), "--kind", "lots", code=1)

    assert "--kind" in unsure.output
    assert "line 1, harvest_date: column is missing" in named.stdout


def test_a_workbook_is_refused_with_what_to_do(farmgate: Farmgate, tmp_path: Path) -> None:
    file = tmp_path / "x.xlsx"
    file.write_bytes(b"PK\x03\x04 and more")

    assert "CSV UTF-8" in farmgate("import", str(file), code=1).output


def test_options_name_what_a_file_does_not_tell(
    farmgate: Farmgate, client: Client, world: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "lots.csv"
    file.write_text("lot,sku,producer,harvest_date\nOLD-1,HONEY-1,P-1,5/11/2025\n")

    unsure = farmgate("import", str(file), code=1)
    farmgate("import", str(file), "--dates", "dmy")

    assert "dates=dmy" in unsure.stdout
    (lot,) = client.get("catalog", "/lots", code="OLD-1")["items"]
    assert lot["harvest_date"] == "2025-11-05"
