"""Logistics' HTTP API: answers, rows and recorded events."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from services.logistics.rules import CODE_TRIES
from shared.database import Database
from shared.events import ContactGiven, OrderCancelled, OrderConfirmed, ProductListed
from shared.ids import new_id

Headers = Callable[..., dict[str, str]]
Recorded = Callable[[], list[tuple[str, dict[str, Any]]]]
Act = Callable[..., Any]

BASE = "/api/logistics/v1"


def a_site(**changes: Any) -> dict[str, Any]:
    return {"code": "C", "level": "centre", "names": {"zh": "中心", "en": "Centre"}} | changes


def a_route(**changes: Any) -> dict[str, Any]:
    return {"from_code": "C", "to_code": "K", "hours": 6, "days": [1, 3, 5]} | changes


@pytest.fixture
def open_site(client: FlaskClient, token: Headers) -> Act:
    def post(**changes: Any) -> Any:
        return client.post(f"{BASE}/sites", json=a_site(**changes), headers=token("sites:write"))

    return post


@pytest.fixture
def act(client: FlaskClient, token: Headers) -> Act:
    """Do one thing to a shipment, as someone who may."""

    def post(shipment_id: UUID, action: str, **body: Any) -> Any:
        return client.post(
            f"{BASE}/shipments/{shipment_id}/{action}",
            json=body if body else None,
            headers=token("shipments:operate", subject="clerk-1"),
        )

    return post


@pytest.fixture
def on_its_way(planned: Callable[..., UUID], act: Act) -> Callable[..., UUID]:
    """Plan, pack and dispatch a shipment; return its id."""

    def build(**changes: Any) -> UUID:
        shipment_id = planned(**changes)
        assert act(shipment_id, "pack").status_code == 200
        assert act(shipment_id, "dispatch").status_code == 200
        return shipment_id

    return build


@pytest.fixture
def at_its_site(
    on_its_way: Callable[..., UUID], act: Act, sites: dict[str, UUID]
) -> Callable[..., UUID]:
    """Bring a shipment that is to be collected to its site; return its id."""

    def build(**changes: Any) -> UUID:
        shipment_id = on_its_way(**{"collect": True} | changes)
        assert act(shipment_id, "arrivals", site_id=str(sites["T"])).status_code == 200
        return shipment_id

    return build


def facts(recorded_events: Recorded) -> list[str]:
    """The facts recorded so far, without their service and version."""
    return [type_.split(".")[1] for type_, _ in recorded_events()]


def shipment_facts(recorded_events: Recorded) -> list[str]:
    return [fact for fact in facts(recorded_events) if fact != "site_opened"]


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


def test_a_route_opens_changes_and_ends(
    client: FlaskClient, token: Headers, sites: dict[str, UUID]
) -> None:
    opened = client.post(f"{BASE}/routes", json=a_route(), headers=token("sites:write"))
    url = f"{BASE}/routes/{opened.json['route_id']}"

    changed = client.put(url, json={"hours": 4, "cold": True}, headers=token("sites:write"))
    listed = client.get(f"{BASE}/routes", query_string={"to_site_id": sites["K"]}).json
    shown = client.get(url).json
    ended = client.delete(url, headers=token("sites:write"))

    assert (opened.status_code, opened.json["days"], opened.json["cold"]) == (201, [1, 3, 5], False)
    assert (changed.json["hours"], changed.json["days"]) == (4, [1, 2, 3, 4, 5, 6, 7])
    assert listed["items"] == [changed.json] == [shown]
    assert (ended.status_code, client.get(url).status_code) == (204, 404)


def test_the_same_route_again_is_the_same_and_another_is_refused(
    client: FlaskClient, token: Headers, sites: dict[str, UUID]
) -> None:
    first = client.post(f"{BASE}/routes", json=a_route(), headers=token("sites:write"))

    again = client.post(
        f"{BASE}/routes", json=a_route(days=[5, 3, 1]), headers=token("sites:write")
    )
    other = client.post(f"{BASE}/routes", json=a_route(hours=9), headers=token("sites:write"))

    assert (again.status_code, again.json) == (201, first.json)
    assert (other.status_code, other.json["type"]) == (409, "/problems/route-exists")
    assert other.json["route_id"] == first.json["route_id"]


@pytest.mark.parametrize(
    "change",
    [
        {"hours": 0},
        {"hours": 1.5},
        {"days": []},
        {"days": [0]},
        {"days": [1, 1]},
        {"to_code": "nowhere"},
        {"to_code": "C"},
    ],
)
def test_an_impossible_route_is_refused(
    client: FlaskClient, token: Headers, sites: dict[str, UUID], change: dict[str, Any]
) -> None:
    refused = client.post(f"{BASE}/routes", json=a_route(**change), headers=token("sites:write"))

    assert refused.status_code == 422


def test_a_promise_names_the_day_and_the_way(client: FlaskClient, sites: dict[str, UUID]) -> None:
    answer = client.get(f"{BASE}/promise", query_string={"site_id": sites["T"]}).json

    assert [leg["to_site_id"] for leg in answer["way"]] == [str(sites["K"]), str(sites["T"])]
    assert answer["cold"] is False
    assert answer["promised_on"]


def test_goods_that_must_stay_cold_are_promised_only_over_cold_legs(
    client: FlaskClient, token: Headers, sites: dict[str, UUID], deliver: Callable[..., Any]
) -> None:
    variant_id = new_id()
    deliver(
        ProductListed,
        product_id=new_id(),
        code="MATSUTAKE-FROZEN",
        names={"zh": "松茸"},
        perishable=True,
        variants=[
            {
                "variant_id": variant_id,
                "sku": "MATSUTAKE-FROZEN-1",
                "grade": "1",
                "unit": "g",
                "pack_quantity": 500,
                "storage": "-18 C",
                "min_life_days": 30,
            }
        ],
    )
    query = {"site_id": sites["K"], "variant_id": [variant_id]}

    before = client.get(f"{BASE}/promise", query_string=query)
    client.post(f"{BASE}/routes", json=a_route(cold=True), headers=token("sites:write"))
    after = client.get(f"{BASE}/promise", query_string=query)

    assert (before.status_code, before.json["type"]) == (422, "/problems/no-cold-way")
    assert (after.status_code, after.json["cold"]) == (200, True)


@pytest.mark.parametrize(
    ("query", "problem"),
    [({"site_id": "new"}, "unknown-site"), ({"variant_id": "new"}, "unknown-variant")],
)
def test_a_promise_for_what_is_unknown_is_refused(
    client: FlaskClient, sites: dict[str, UUID], query: dict[str, str], problem: str
) -> None:
    named = {"site_id": sites["T"]} | {name: new_id() for name in query}

    refused = client.get(f"{BASE}/promise", query_string=named)

    assert (refused.status_code, refused.json["type"]) == (422, f"/problems/{problem}")


def test_a_parcel_travels_and_is_delivered(
    planned: Callable[..., UUID],
    act: Act,
    sites: dict[str, UUID],
    recorded_events: Recorded,
) -> None:
    shipment_id = planned()

    states = [
        act(shipment_id, "pack").json["state"],
        act(shipment_id, "dispatch").json["state"],
        act(shipment_id, "arrivals", site_id=str(sites["K"])).json["state"],
        act(shipment_id, "arrivals", site_id=str(sites["T"])).json["state"],
        act(shipment_id, "deliver", received_by="Tashi", collected_fen=13600).json["state"],
    ]

    assert states == ["packed", "handed_over", "handed_over", "handed_over", "delivered"]
    assert shipment_facts(recorded_events) == [
        "shipment_planned",
        "shipment_packed",
        "shipment_dispatched",
        "shipment_arrived",
        "shipment_arrived",
        "shipment_delivered",
    ]
    arrivals = [data for type_, data in recorded_events() if "arrived" in type_]
    assert [arrival["final"] for arrival in arrivals] == [False, True]
    assert recorded_events()[-1][1]["collected_fen"] == 13600


def test_a_dispatch_says_what_left_lot_by_lot(
    on_its_way: Callable[..., UUID], recorded_events: Recorded
) -> None:
    on_its_way()

    [line] = recorded_events()[-1][1]["lines"]
    assert line["line_no"] == 1
    assert [(lot["lot_code"], lot["quantity"]) for lot in line["lots"]] == [
        ("L-1", 500),
        ("L-2", 500),
    ]


@pytest.mark.parametrize("collect", [False, True])
def test_an_action_done_already_is_answered_with_the_present_state(
    planned: Callable[..., UUID],
    act: Act,
    sites: dict[str, UUID],
    recorded_events: Recorded,
    collect: bool,
) -> None:
    shipment_id = planned(collect=collect)
    body = {"received_by": "Tashi", "collected_fen": 13600}
    steps: list[tuple[str, dict[str, Any]]] = [
        ("pack", {}),
        ("dispatch", {}),
        ("arrivals", {"site_id": str(sites["T"])}),
        ("collect" if collect else "deliver", body),
    ]

    for action, content in steps:
        first = act(shipment_id, action, **content)
        recorded = len(recorded_events())
        again = act(shipment_id, action, **content)
        assert (first.status_code, again.status_code) == (200, 200)
        assert again.json == first.json
        assert len(recorded_events()) == recorded


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("dispatch", {}),
        ("arrivals", {"site_id": "T"}),
        ("deliver", {"received_by": "Tashi", "collected_fen": 13600}),
        ("fail", {"reason": "absent"}),
        ("return", {"restock": True}),
    ],
)
def test_what_does_not_follow_from_the_state_is_refused_naming_it(
    planned: Callable[..., UUID],
    act: Act,
    sites: dict[str, UUID],
    recorded_events: Recorded,
    action: str,
    body: dict[str, Any],
) -> None:
    shipment_id = planned()
    if "site_id" in body:
        body = {"site_id": str(sites["T"])}

    refused = act(shipment_id, action, **body)

    assert (refused.status_code, refused.json["type"]) == (409, "/problems/wrong-shipment-state")
    assert refused.json["state"] == "planned"
    assert shipment_facts(recorded_events) == ["shipment_planned"]


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("pack", {}),
        ("dispatch", {}),
        ("deliver", {"received_by": "Tashi", "collected_fen": 0}),
        ("collect", {"received_by": "Tashi", "collected_fen": 0}),
    ],
)
def test_a_shipment_that_is_not_there_is_404(act: Act, action: str, body: dict[str, Any]) -> None:
    missing = act(new_id(), action, **body)

    assert (missing.status_code, missing.json["type"]) == (404, "/problems/shipment-not-found")


def test_money_that_differs_from_what_is_due_needs_a_reason(
    on_its_way: Callable[..., UUID], act: Act, recorded_events: Recorded
) -> None:
    shipment_id = on_its_way()
    paid_less = {"received_by": "Tashi", "collected_fen": 13000}

    refused = act(shipment_id, "deliver", **paid_less)
    booked = act(shipment_id, "deliver", **paid_less, difference_reason="one bag was torn")

    assert (refused.status_code, refused.json["type"]) == (422, "/problems/wrong-amount")
    assert refused.json["due_fen"] == 13600
    assert (booked.status_code, booked.json["collected_fen"]) == (200, 13000)
    assert recorded_events()[-1][1]["collected_fen"] == 13000


def test_a_buyer_collects_with_the_code_that_only_the_internal_event_tells(
    at_its_site: Callable[..., UUID], act: Act, recorded_events: Recorded
) -> None:
    shipment_id = at_its_site()
    type_, issued = recorded_events()[-1]

    collected = act(shipment_id, "collect", code=issued["code"], collected_fen=13600)

    assert type_ == "logistics.collection_code_issued.v1"
    assert (collected.status_code, collected.json["state"]) == (200, "collected")
    assert facts(recorded_events)[-1] == "shipment_collected"


def test_wrong_codes_are_counted_and_then_only_a_name_helps(
    at_its_site: Callable[..., UUID], act: Act, recorded_events: Recorded
) -> None:
    shipment_id = at_its_site()
    code = recorded_events()[-1][1]["code"]
    wrong = f"{(int(code) + 1) % 1_000_000:06d}"

    tries = [
        act(shipment_id, "collect", code=wrong, collected_fen=13600) for _ in range(CODE_TRIES)
    ]
    locked = act(shipment_id, "collect", code=code, collected_fen=13600)
    by_name = act(shipment_id, "collect", received_by="Tashi", collected_fen=13600)

    assert [answer.status_code for answer in tries] == [422] * CODE_TRIES
    assert [answer.json["tries_left"] for answer in tries] == [4, 3, 2, 1, 0]
    assert (locked.status_code, locked.json["type"]) == (409, "/problems/code-locked")
    assert "received_by" in locked.json["detail"]
    assert by_name.status_code == 200


@pytest.mark.parametrize("code", ["12345", "1234567", "12345a", "١٢٣٤٥٦", 123456])
def test_what_is_no_code_costs_no_try(
    at_its_site: Callable[..., UUID], act: Act, recorded_events: Recorded, code: Any
) -> None:
    shipment_id = at_its_site()
    issued = recorded_events()[-1][1]["code"]

    refused = act(shipment_id, "collect", code=code, collected_fen=13600)

    assert refused.status_code == 422
    assert "tries_left" not in refused.json
    assert act(shipment_id, "collect", code=issued, collected_fen=13600).status_code == 200


def test_a_collection_needs_a_code_or_a_name(at_its_site: Callable[..., UUID], act: Act) -> None:
    refused = act(at_its_site(), "collect", collected_fen=13600)

    assert (refused.status_code, refused.json["type"]) == (422, "/problems/no-proof")


def test_nothing_is_collected_before_it_arrived(on_its_way: Callable[..., UUID], act: Act) -> None:
    refused = act(on_its_way(collect=True), "collect", received_by="Tashi", collected_fen=13600)

    assert (refused.status_code, refused.json["type"]) == (409, "/problems/not-arrived")


@pytest.mark.parametrize(("collect", "action"), [(True, "deliver"), (False, "collect")])
def test_delivering_and_collecting_are_not_mixed_up(
    on_its_way: Callable[..., UUID], act: Act, collect: bool, action: str
) -> None:
    refused = act(on_its_way(collect=collect), action, received_by="Tashi", collected_fen=13600)

    assert (refused.status_code, refused.json["type"]) == (409, "/problems/wrong-hand-over")


@pytest.mark.parametrize("restock", [True, False])
def test_a_refused_parcel_comes_back(
    on_its_way: Callable[..., UUID], act: Act, recorded_events: Recorded, restock: bool
) -> None:
    shipment_id = on_its_way()

    refused = act(shipment_id, "fail", reason="absent")
    returned = act(shipment_id, "return", restock=restock)
    again = act(shipment_id, "return", restock=not restock)

    assert (refused.json["state"], refused.json["refusal"]) == ("refused", "absent")
    assert (returned.json["state"], returned.json["restocked"]) == ("returned", restock)
    assert again.json == returned.json
    assert facts(recorded_events)[-2:] == ["delivery_failed", "shipment_returned"]
    fact = recorded_events()[-1][1]
    assert (fact["restock"], len(fact["lines"][0]["lots"])) == (restock, 2)


def test_a_published_reason_is_one_of_a_list(on_its_way: Callable[..., UUID], act: Act) -> None:
    refused = act(on_its_way(), "fail", reason="Tashi of Bahe 7 was out")

    assert refused.status_code == 422


def test_a_parcel_called_back_is_handed_to_nobody_and_comes_back(
    at_its_site: Callable[..., UUID],
    act: Act,
    deliver: Callable[..., Any],
    sites: dict[str, UUID],
    recorded_events: Recorded,
) -> None:
    order_id = new_id()
    shipment_id = at_its_site(order_id=order_id)
    code = recorded_events()[-1][1]["code"]

    deliver(OrderCancelled, order_id=order_id, order_ref="ORD-1", reason="changed")
    refused = act(shipment_id, "collect", code=code, collected_fen=13600)
    on_its_way_back = act(shipment_id, "arrivals", site_id=str(sites["K"]))
    returned = act(shipment_id, "return", restock=True)

    assert (refused.status_code, refused.json["state"]) == (409, "refused")
    assert on_its_way_back.json["at_site_id"] == str(sites["K"])
    assert returned.json["state"] == "returned"
    assert facts(recorded_events)[-2:] == ["collection_code_issued", "shipment_returned"]


def test_an_arrival_at_an_unknown_site_is_refused(
    on_its_way: Callable[..., UUID], act: Act
) -> None:
    refused = act(on_its_way(), "arrivals", site_id=str(new_id()))

    assert (refused.status_code, refused.json["type"]) == (422, "/problems/unknown-site")


def test_a_carriers_report_is_kept_and_changes_no_state(
    client: FlaskClient,
    token: Headers,
    planned: Callable[..., UUID],
    act: Act,
    recorded_events: Recorded,
) -> None:
    shipment_id = planned()

    report = act(
        shipment_id, "tracking", status="delivered", carrier="Nyingchi Post", carrier_code="80"
    )
    act(shipment_id, "tracking", status="lost")

    url = f"{BASE}/shipments/{shipment_id}"
    track = client.get(f"{url}/tracking", headers=token("shipments:read")).json["items"]
    assert report.status_code == 201
    assert [(seen["status"], seen["carrier_code"]) for seen in track] == [
        ("delivered", "80"),
        ("lost", None),
    ]
    shown = client.get(url, headers=token("shipments:read")).json
    assert shown["shipment"]["state"] == "planned"
    assert shipment_facts(recorded_events) == ["shipment_planned"]


def test_arrivals_are_on_the_parcels_track(
    client: FlaskClient, token: Headers, at_its_site: Callable[..., UUID]
) -> None:
    url = f"{BASE}/shipments/{at_its_site()}/tracking"

    track = client.get(url, headers=token("shipments:read")).json["items"]

    assert [seen["status"] for seen in track] == ["available_for_pickup"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"status": "eaten"},
        {"status": "lost", "happened_at": "yesterday"},
        {"status": "lost", "happened_at": "2024-07-01T08:00:00"},
        {"status": "lost", "happened_at": "9999-12-31T23:59:59-08:00"},
    ],
)
def test_a_malformed_report_is_refused(
    planned: Callable[..., UUID], act: Act, body: dict[str, Any]
) -> None:
    assert act(planned(), "tracking", **body).status_code in (400, 422)


def test_people_are_shown_only_to_those_who_operate(
    client: FlaskClient,
    token: Headers,
    on_its_way: Callable[..., UUID],
    act: Act,
    deliver: Callable[..., Any],
) -> None:
    order_id = new_id()
    deliver(
        ContactGiven,
        order_id=order_id,
        order_ref="ORD-1",
        buyer_id=None,
        name="Tashi",
        phone="+8613900000000",
        address="Bahe 7",
        language="bo",
    )
    shipment_id = on_its_way(order_id=order_id)
    act(shipment_id, "deliver", received_by="Tashi", collected_fen=13600)
    url = f"{BASE}/shipments/{shipment_id}"

    reader = client.get(url, headers=token("shipments:read"))
    operator = client.get(url, headers=token("shipments:read", "shipments:operate"))

    assert (reader.json["contact"], reader.json["proof"]) == (None, None)
    assert "Tashi" not in reader.text
    assert operator.json["contact"]["address"] == "Bahe 7"
    assert (operator.json["proof"]["kind"], operator.json["proof"]["handed_over_by"]) == (
        "name",
        "clerk-1",
    )


def test_shipments_are_found_by_order_state_and_site(
    client: FlaskClient,
    token: Headers,
    planned: Callable[..., UUID],
    act: Act,
    sites: dict[str, UUID],
) -> None:
    order_id = new_id()
    first, second = planned(order_id=order_id), planned(site_id=sites["V"])
    act(second, "pack")

    def found(**query: Any) -> list[str]:
        answer = client.get(
            f"{BASE}/shipments", query_string=query, headers=token("shipments:read")
        )
        return [shipment["shipment_id"] for shipment in answer.json["items"]]

    assert found() == [str(second), str(first)]
    assert found(order_id=order_id) == [str(first)]
    assert found(state="packed") == [str(second)]
    assert found(site_id=sites["T"]) == [str(first)]


@pytest.mark.parametrize(
    "query", [{"state": "eaten"}, {"site_id": "T"}, {"limit": 0}, {"limit": 201}, {"cursor": "!"}]
)
def test_a_malformed_query_is_refused(
    client: FlaskClient, token: Headers, query: dict[str, Any]
) -> None:
    refused = client.get(f"{BASE}/shipments", query_string=query, headers=token("shipments:read"))

    assert refused.status_code == 422


def test_an_order_is_traced_with_what_it_waits_for(
    client: FlaskClient,
    token: Headers,
    deliver: Callable[..., Any],
    a_confirmed_order: Callable[..., dict[str, Any]],
) -> None:
    order = a_confirmed_order()
    deliver(OrderConfirmed, **order)

    trace = client.get(f"{BASE}/trace/{order['order_id']}", headers=token("operate")).json

    assert trace["service"] == "logistics"
    assert (trace["state"]["state"], trace["state"]["site"]) == ("planned", "T")
    assert [waiting["what"] for waiting in trace["waiting_for"]] == ["the goods to be packed"]
    assert [fact["type"] for fact in trace["published"]] == ["logistics.shipment_planned.v1"]
    assert [fact["type"] for fact in trace["handled"]] == ["orders.order_confirmed.v1"]


def test_an_order_that_logistics_never_heard_of_is_traced_as_such(
    client: FlaskClient, token: Headers
) -> None:
    trace = client.get(f"{BASE}/trace/{new_id()}", headers=token("operate")).json

    assert (trace["state"], trace["waiting_for"]) == ({"shipment": None}, [])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("post", "/sites"),
        ("post", "/sites/batch"),
        ("post", "/routes"),
        ("get", "/shipments"),
        ("get", f"/shipments/{new_id()}"),
        ("post", f"/shipments/{new_id()}/pack"),
        ("post", f"/shipments/{new_id()}/collect"),
        ("get", f"/trace/{new_id()}"),
    ],
)
def test_what_is_not_public_needs_a_token_with_its_scope(
    client: FlaskClient, token: Headers, database: Database, method: str, path: str
) -> None:
    nobody = client.open(BASE + path, method=method.upper(), json={})
    stranger = client.open(
        BASE + path, method=method.upper(), json={}, headers=token("orders:place")
    )

    assert (nobody.status_code, stranger.status_code) == (401, 403)
