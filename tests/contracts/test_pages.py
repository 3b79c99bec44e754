"""The tests and files that the pages name exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_every_test_that_the_page_names_exists() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", page))
    present = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert len(named) > 20
    assert sorted(named - present) == []


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md", "docs/operations.md"])
def test_every_file_and_folder_that_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    folders = "services|shared|farmgate|web|demo|tests|docs|deploy|benchmarks"
    named = set(re.findall(rf"`((?:{folders})/[\w./-]+)`", text))
    assert named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_an_order_is_followed_through_fewer_than_thirty_files() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.partition("### The files to open")[2].partition("\n### ")[0]
    assert 20 < len(re.findall(r"`[\w/]+\.py`", section)) < 30
