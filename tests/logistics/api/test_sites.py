"""Sites over HTTP: opened, changed, closed and found."""

from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from shared.runtime.ids import new_id
from tests.logistics.reading import BASE, Act, Headers, Recorded, a_route, a_site, facts


def test_a_site_opens_and_says_so(open_site: Act, recorded_events: Recorded) -> None:
    answer = open_site(latitude=29.65, longitude=94.36, opening_hours="Mo-Sa 09:00-18:00")

    assert answer.status_code == 201
    assert answer.json["code"] == "C"
    assert answer.json["names"] == {"zh": "中心", "en": "Centre"}
    assert recorded_events() == [
        (
            "logistics.site_opened.v1",
            {
                "site_id": answer.json["site_id"],
                "code": "C",
                "level": "centre",
                "parent_id": None,
                "names": {"zh": "中心", "en": "Centre"},
            },
        )
    ]


def test_the_same_site_again_is_the_same_site(open_site: Act, recorded_events: Recorded) -> None:
    first = open_site()

    again = open_site()

    assert (again.status_code, again.json) == (201, first.json)
    assert facts(recorded_events) == ["site_opened"]


@pytest.mark.parametrize(
    "change",
    [{"names": {"zh": "别的"}}, {"latitude": 1.5}, {"site_id": str(new_id())}],
)
def test_a_code_taken_by_another_site_is_refused(
    open_site: Act, recorded_events: Recorded, change: dict[str, Any]
) -> None:
    open_site()

    refused = open_site(**change)

    assert (refused.status_code, refused.json["type"]) == (409, "/problems/site-exists")
    assert facts(recorded_events) == ["site_opened"]


def test_an_id_chosen_by_the_caller_is_kept(open_site: Act) -> None:
    site_id = str(new_id())

    assert open_site(site_id=site_id).json["site_id"] == site_id
    assert open_site(site_id=site_id, code="C2").json["type"] == "/problems/site-exists"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"code": "X", "level": "township", "parent_code": "C"}, "wrong-level"),
        ({"code": "X", "level": "county"}, "wrong-level"),
        ({"code": "X", "level": "county", "parent_code": "nowhere"}, "unknown-site"),
    ],
)
def test_a_site_without_its_right_parent_is_refused(
    sites: dict[str, UUID], open_site: Act, change: dict[str, Any], problem: str
) -> None:
    refused = open_site(**change)

    assert (refused.status_code, refused.json["type"]) == (422, f"/problems/{problem}")


@pytest.mark.parametrize(
    "change",
    [
        {"code": ""},
        {"code": "a b"},
        {"code": "x" * 41},
        {"level": "province"},
        {"names": {"en": "no zh"}},
        {"names": {"zh": ""}},
        {"names": {"zh": "\u00a0"}},
        {"latitude": 91},
        {"longitude": "east"},
        {"unknown": 1},
        {"site_id": "7"},
    ],
)
def test_a_malformed_site_is_refused_by_field(
    open_site: Act, recorded_events: Recorded, change: dict[str, Any]
) -> None:
    refused = open_site(**change)

    assert refused.status_code == 422
    assert next(iter(change)) in str(refused.json["errors"])
    assert recorded_events() == []


def test_a_batch_may_name_children_before_parents(client: FlaskClient, token: Headers) -> None:
    batch = [a_site(code="K", level="county", parent_code="C"), a_site()]

    answer = client.post(f"{BASE}/sites/batch", json={"sites": batch}, headers=token("sites:write"))

    assert answer.status_code == 201
    assert [site["code"] for site in answer.json["sites"]] == ["K", "C"]


def test_a_batch_of_501_sites_is_refused(client: FlaskClient, token: Headers) -> None:
    batch = [a_site(code=f"C{number}") for number in range(501)]

    answer = client.post(f"{BASE}/sites/batch", json={"sites": batch}, headers=token("sites:write"))

    assert answer.status_code == 422


def test_new_names_are_published_and_other_changes_are_not(
    client: FlaskClient, token: Headers, open_site: Act, recorded_events: Recorded
) -> None:
    site_id = open_site().json["site_id"]
    url = f"{BASE}/sites/{site_id}"

    client.patch(url, json={"opening_hours": "24/7"}, headers=token("sites:write"))
    changed = client.patch(url, json={"names": {"zh": "新"}}, headers=token("sites:write"))

    assert (changed.json["names"], changed.json["opening_hours"]) == ({"zh": "新"}, "24/7")
    assert [event[1]["names"]["zh"] for event in recorded_events()] == ["中心", "新"]


def test_a_site_closes_once_and_takes_nothing_new(
    client: FlaskClient,
    token: Headers,
    sites: dict[str, UUID],
    open_site: Act,
    recorded_events: Recorded,
) -> None:
    close = f"{BASE}/sites/{sites['V']}/close"

    closed = client.post(close, headers=token("sites:write"))
    again = client.post(close, headers=token("sites:write"))

    assert closed.json["closed_at"] is not None
    assert (again.status_code, again.json) == (200, closed.json)
    assert facts(recorded_events).count("site_closed") == 1
    promise = client.get(f"{BASE}/promise", query_string={"site_id": sites["V"]})
    assert (promise.status_code, promise.json["type"]) == (409, "/problems/site-is-closed")
    route = client.post(f"{BASE}/routes", json=a_route(to_code="V"), headers=token("sites:write"))
    assert (route.status_code, route.json["type"]) == (409, "/problems/site-is-closed")


def test_nothing_opens_under_a_closed_site(
    client: FlaskClient, token: Headers, sites: dict[str, UUID], open_site: Act
) -> None:
    for code in ("V", "T"):
        client.post(f"{BASE}/sites/{sites[code]}/close", headers=token("sites:write"))

    refused = open_site(code="V2", level="village", parent_code="T")

    assert (refused.status_code, refused.json["type"]) == (409, "/problems/site-is-closed")


def test_a_site_with_open_sites_below_cannot_close(
    client: FlaskClient, token: Headers, sites: dict[str, UUID]
) -> None:
    refused = client.post(f"{BASE}/sites/{sites['T']}/close", headers=token("sites:write"))

    assert (refused.status_code, refused.json["type"]) == (409, "/problems/site-has-children")


def test_sites_are_listed_page_by_page(client: FlaskClient, sites: dict[str, UUID]) -> None:
    first = client.get(f"{BASE}/sites", query_string={"limit": 3}).json
    rest = client.get(f"{BASE}/sites", query_string={"limit": 3, "cursor": first["next"]}).json

    listed = [site["code"] for site in first["items"] + rest["items"]]
    assert sorted(listed) == ["C", "K", "T", "V"]
    assert rest["next"] is None


@pytest.mark.parametrize(
    ("query", "codes"),
    [({"level": "county"}, ["K"]), ({"open": "false"}, []), ({"parent_id": "K"}, ["T"])],
)
def test_sites_are_found_by_level_parent_and_state(
    client: FlaskClient, sites: dict[str, UUID], query: dict[str, Any], codes: list[str]
) -> None:
    if "parent_id" in query:
        query = {"parent_id": sites[query["parent_id"]]}

    found = client.get(f"{BASE}/sites", query_string=query).json["items"]

    assert [site["code"] for site in found] == codes


def test_a_site_that_is_not_there_is_404(client: FlaskClient) -> None:
    missing = client.get(f"{BASE}/sites/{new_id()}")

    assert (missing.status_code, missing.json["type"]) == (404, "/problems/site-not-found")


def test_sites_are_listed_by_their_last_change(
    client: FlaskClient, token: Headers, sites: dict[str, UUID]
) -> None:
    begun = client.get(f"{BASE}/sites").json["items"][-1]["changed_at"]
    client.post(f"{BASE}/sites/{sites['V']}/close", headers=token("sites:write"))
    hours = {"opening_hours": "24/7"}
    client.patch(f"{BASE}/sites/{sites['T']}", json=hours, headers=token("sites:write"))

    def read(**query: Any) -> Any:
        return client.get(f"{BASE}/sites", query_string={"changed_since": begun, **query}).json

    *_, closed, changed = read()["items"]
    assert (closed["site_id"], closed["closed_at"]) == (str(sites["V"]), closed["changed_at"])
    assert (changed["site_id"], changed["opening_hours"]) == (str(sites["T"]), "24/7")
    assert changed["changed_at"] > closed["changed_at"]
    page = read(limit=1)
    assert page["items"] + read(cursor=page["next"])["items"] == read()["items"]
