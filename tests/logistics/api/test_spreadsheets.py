"""Sites as CSV: opened and changed by a file, and written as what a file takes."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from tests.logistics.reading import BASE, Headers, Recorded, facts

HEADER = "site,level,parent_code,name_zh,name_en,latitude,longitude,opening_hours\r\n"


@pytest.fixture
def send(client: FlaskClient, token: Headers) -> Callable[..., Any]:
    """Import sites; returns the answer."""

    def post(text: str | bytes, **query: str) -> Any:
        return client.post(
            f"{BASE}/imports/sites",
            query_string=query,
            data=text.encode() if isinstance(text, str) else text,
            headers=token("sites:write") | {"Content-Type": "text/csv"},
        )

    return post


@pytest.fixture
def fetch(client: FlaskClient, token: Headers) -> Callable[[], str]:
    """Export the sites; returns the file's text."""

    def get() -> str:
        answer = client.get(f"{BASE}/exports/sites.csv", headers=token("sites:write"))
        assert answer.status_code == 200
        return answer.get_data(as_text=True)

    return get


def counts(answer: Any) -> tuple[int, int, int]:
    return answer.json["created"], answer.json["changed"], answer.json["unchanged"]


def mistakes(answer: Any) -> list[tuple[int, str | None]]:
    return [(error["line"], error["column"]) for error in answer.json["errors"]]


def test_sites_open_from_a_file_in_any_order(
    send: Any, client: FlaskClient, recorded_events: Recorded
) -> None:
    rows = (
        'K,county,C,县,County,29.5,,\r\nC,centre,,中心,Centre,29.65,94.36,"Mo-Sa 09:00-18:00"\r\n'
    )

    answer, again = send(HEADER + rows), send(HEADER + rows)

    assert (counts(answer), counts(again)) == ((2, 0, 0), (0, 0, 2))
    assert facts(recorded_events) == ["site_opened", "site_opened"]
    centre, county = client.get(f"{BASE}/sites").json["items"]
    assert (centre["code"], centre["latitude"], county["parent_id"]) == (
        "C",
        29.65,
        centre["site_id"],
    )


def test_decimals_are_read_as_the_separator_of_the_file_says(
    send: Any, client: FlaskClient
) -> None:
    send("site;level;name_zh;latitude;longitude\r\nC;centre;中心;29,654;94,5\r\n")

    (site,) = client.get(f"{BASE}/sites").json["items"]
    assert (site["latitude"], site["longitude"]) == (29.654, 94.5)
    unsure = send('site,level,name_zh,latitude\r\nC,centre,中心,"29,654"\r\n')
    assert mistakes(unsure) == [(2, "latitude")]


def test_exported_sites_can_be_imported_and_change_nothing(
    sites: dict[str, UUID], send: Any, fetch: Callable[[], str], recorded_events: Recorded
) -> None:
    before = recorded_events()

    answer = send(fetch())

    assert (counts(answer), recorded_events()) == ((0, 0, 4), before)


def test_an_absent_column_leaves_its_values_and_an_empty_cell_clears_one(
    send: Any, fetch: Callable[[], str], client: FlaskClient
) -> None:
    send(HEADER + "C,centre,,中心,Centre,29.65,94.36,09:00-18:00\r\n")

    left = send("site,level,name_zh\r\nC,centre,中心\r\n")
    cleared = send("site,level,name_zh,name_en,opening_hours\r\nC,centre,中心,,\r\n")

    (site,) = client.get(f"{BASE}/sites").json["items"]
    assert (counts(left), counts(cleared)) == ((0, 0, 1), (0, 1, 0))
    assert (site["names"], site["opening_hours"]) == ({"zh": "中心"}, None)
    assert (site["latitude"], site["longitude"]) == (29.65, 94.36)


def test_mistakes_are_named_by_line_and_nothing_is_opened(
    sites: dict[str, UUID], send: Any, recorded_events: Recorded
) -> None:
    before = recorded_events()
    rows = (
        "N1,county,C,新,,,,\r\n"
        "N2,village,C,新,,,,\r\n"
        "N3,county,NOWHERE,新,,,,\r\n"
        "K,township,C,县,,,,\r\n"
        "T,township,,镇,,,,\r\n"
        "N4,county,C,新,,91,,\r\n"
        "N1,county,C,新,,,,\r\n"
    )

    answer = send(HEADER + rows)

    assert answer.json["type"] == "/problems/import-refused"
    assert mistakes(answer) == [
        (3, "parent_code"),
        (4, "parent_code"),
        (5, "level"),
        (6, "parent_code"),
        (7, "latitude"),
        (8, "site"),
    ]
    assert recorded_events() == before


def test_a_dry_run_shows_what_would_change(
    sites: dict[str, UUID], send: Any, recorded_events: Recorded
) -> None:
    before = recorded_events()

    answer = send("site,level,name_zh\r\nT,township,巴河镇\r\nX,centre,新中心\r\n", dry_run="true")

    assert (counts(answer), recorded_events()) == ((1, 1, 0), before)
    assert answer.json["changes"] == [
        {
            "line": 2,
            "name": "T",
            "column": "names",
            "before": {"zh": "镇"},
            "after": {"zh": "巴河镇"},
        }
    ]
