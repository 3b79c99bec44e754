"""Enterprises, products and prices over HTTP: answers, rows, events."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from farmgate.roles import ROLES
from shared.events import CHANNELS
from shared.runtime.ids import new_id
from tests.support import UNKNOWN_ID

Recorded = Callable[[], list[tuple[str, dict[str, Any]]]]
Token = Callable[..., dict[str, str]]
URL = "/api/catalog/v1"


def a_product(**changes: Any) -> dict[str, Any]:
    variant = {"sku": "M-1", "grade": "1", "unit": "g", "pack_quantity": 500, "min_life_days": 2}
    product = {
        "code": "MATSUTAKE-FRESH",
        "names": {"zh": "松茸（鲜）", "en": "Matsutake, fresh"},
        "category": "fungi",
        "perishable": True,
        "shelf_life_days": 5,
        "storage": "0-4 C",
        "variants": [variant],
    }
    return product | changes


def an_enterprise(**changes: Any) -> dict[str, Any]:
    return {"code": "P-900", "names": {"zh": "巴河合作社"}, "roles": ["producer"]} | changes


def kind_of(answer: Any) -> str:
    """Return the last part of a problem's type."""
    return str(answer.json["type"]).rpartition("/")[2]


# --- Enterprises ---------------------------------------------------------------------------


def test_an_enterprise_is_registered_and_its_contact_is_only_passed_on(
    post: Any, get: Any, recorded_events: Recorded
) -> None:
    contact = {"phone": "138 0000 0000", "language": "bo"}

    answer = post("/enterprises", an_enterprise(contact=contact))

    assert answer.status_code == 201
    enterprise_id = answer.json["enterprise_id"]
    assert "13800000000" not in get(f"/enterprises/{enterprise_id}").text
    assert recorded_events() == [
        (
            "catalog.enterprise_contact_given.v1",
            {
                "enterprise_id": enterprise_id,
                "name": "巴河合作社",
                "phone": "+8613800000000",
                "language": "bo",
            },
        ),
    ]


def test_registering_the_same_enterprise_again_answers_the_one_that_is_there(
    post: Any, recorded_events: Recorded
) -> None:
    contact = {"phone": "138 0000 0000", "language": "bo"}
    first = post("/enterprises", an_enterprise(contact=contact))

    again = post("/enterprises", an_enterprise(contact=contact))

    assert (again.status_code, again.json) == (201, first.json)
    assert len(recorded_events()) == 1


def test_a_code_of_another_enterprise_is_refused(post: Any) -> None:
    post("/enterprises", an_enterprise())

    answer = post("/enterprises", an_enterprise(roles=["company"]))

    assert (answer.status_code, kind_of(answer)) == (409, "enterprise-code-taken")


@pytest.mark.parametrize(
    ("phone", "says"),
    [
        ("12", "No telephone has this number"),
        ("1-800-FLOWERS", "figures only"),
        ("0894-5822222 ext 5", "extension"),
    ],
)
def test_a_contact_that_is_no_phone_number_is_refused_with_the_reason(
    post: Any, phone: str, says: str
) -> None:
    answer = post("/enterprises", an_enterprise(contact={"phone": phone, "language": "zh"}))

    assert answer.status_code == 422
    assert says in answer.text


def test_a_new_contact_is_passed_on(put: Any, post: Any, recorded_events: Recorded) -> None:
    enterprise_id = post("/enterprises", an_enterprise()).json["enterprise_id"]

    contact = {"phone": "0894-5822222", "language": "zh"}
    answer = put(f"/enterprises/{enterprise_id}/contact", contact)

    assert answer.status_code == 204
    assert recorded_events()[-1][1]["phone"] == "+868945822222"


def test_a_producer_becomes_a_member_of_a_cooperative(post: Any, get: Any) -> None:
    member = post("/enterprises", an_enterprise()).json["enterprise_id"]
    cooperative = post("/enterprises", an_enterprise(code="C-1", roles=["cooperative"])).json[
        "enterprise_id"
    ]
    terms = {"member_id": member, "share_bp": 2500, "valid_from": "2025-01-01"}

    answer = post(f"/enterprises/{cooperative}/memberships", terms)

    assert answer.status_code == 201
    assert get(f"/enterprises/{cooperative}").json["memberships"] == [answer.json]


@pytest.mark.parametrize(
    ("changes", "status", "kind"),
    [
        ({"valid_from": "2025-06-01"}, 409, "membership-overlaps"),
        ({"valid_to": "2024-01-01"}, 422, "impossible-membership"),
        ({"member_id": str(new_id())}, 404, "enterprise-not-found"),
    ],
)
def test_an_impossible_membership_is_refused(
    post: Any, changes: dict[str, Any], status: int, kind: str
) -> None:
    member = post("/enterprises", an_enterprise()).json["enterprise_id"]
    cooperative = post("/enterprises", an_enterprise(code="C-1", roles=["cooperative"])).json[
        "enterprise_id"
    ]
    terms = {"member_id": member, "share_bp": 2500, "valid_from": "2025-01-01"}
    post(f"/enterprises/{cooperative}/memberships", terms)

    answer = post(f"/enterprises/{cooperative}/memberships", terms | changes)

    assert (answer.status_code, kind_of(answer)) == (status, kind)


def test_a_producer_has_no_members(post: Any) -> None:
    producer = post("/enterprises", an_enterprise()).json["enterprise_id"]
    terms = {"member_id": producer, "share_bp": 2500, "valid_from": "2025-01-01"}

    answer = post(f"/enterprises/{producer}/memberships", terms)

    assert (answer.status_code, kind_of(answer)) == (422, "impossible-membership")


# --- Products and prices ---------------------------------------------------------------------


def test_a_product_is_listed_with_what_orders_need_to_know(
    post: Any, client: FlaskClient, recorded_events: Recorded
) -> None:
    answer = post("/products", a_product())

    assert answer.status_code == 201
    assert client.get(URL + "/products").json["items"] == [answer.json]
    (kind, data) = recorded_events()[0]
    assert kind == "catalog.product_listed.v1"
    assert data["variants"] == [
        {
            "variant_id": answer.json["variants"][0]["variant_id"],
            "sku": "M-1",
            "grade": "1",
            "unit": "g",
            "pack_quantity": 500,
            "storage": "0-4 C",
            "min_life_days": 2,
        }
    ]


def test_listing_the_same_product_again_answers_the_one_that_is_there(
    post: Any, recorded_events: Recorded
) -> None:
    first = post("/products", a_product())

    again = post("/products", a_product())

    assert again.json == first.json
    assert len(recorded_events()) == 1


def test_a_code_of_another_product_is_refused(post: Any) -> None:
    post("/products", a_product())

    answer = post("/products", a_product(category="fruit"))

    assert (answer.status_code, kind_of(answer)) == (409, "product-code-taken")


def test_a_sku_of_another_product_is_refused(post: Any) -> None:
    post("/products", a_product())

    answer = post("/products", a_product(code="OTHER"))

    assert (answer.status_code, kind_of(answer)) == (409, "sku-taken")


def test_withdrawing_a_product_twice_says_it_once(post: Any, recorded_events: Recorded) -> None:
    product_id = post("/products", a_product()).json["product_id"]

    answers = [post(f"/products/{product_id}/withdraw") for _ in range(2)]

    assert [answer.json["status"] for answer in answers] == ["withdrawn", "withdrawn"]
    assert [kind for kind, _ in recorded_events()][1:] == ["catalog.product_withdrawn.v1"]


def test_a_price_is_set_published_and_shown(
    post: Any, put: Any, client: FlaskClient, recorded_events: Recorded
) -> None:
    variant_id = post("/products", a_product()).json["variants"][0]["variant_id"]
    price = {"price_fen": 68000, "price_unit": 500, "valid_from": "2025-07-01T00:00:00Z"}

    answer = put(f"/variants/{variant_id}/prices/online", price)

    assert answer.status_code == 200
    shown = client.get(f"{URL}/variants/{variant_id}/prices").json["items"]
    assert shown == [answer.json]
    kind, data = recorded_events()[-1]
    assert kind == "catalog.price_changed.v1"
    assert (data["price_fen"], data["price_unit"], data["valid_to"]) == (68000, 500, None)


def test_setting_the_price_that_holds_says_nothing(
    post: Any, put: Any, recorded_events: Recorded
) -> None:
    variant_id = post("/products", a_product()).json["variants"][0]["variant_id"]
    price = {"price_fen": 68000, "price_unit": 500}
    first = put(f"/variants/{variant_id}/prices/online", price)

    again = put(f"/variants/{variant_id}/prices/online", price)

    assert again.json == first.json
    assert [kind for kind, _ in recorded_events()].count("catalog.price_changed.v1") == 1


def test_a_price_can_be_corrected_and_followed_by_a_later_one(
    post: Any, put: Any, client: FlaskClient
) -> None:
    variant_id = post("/products", a_product()).json["variants"][0]["variant_id"]
    path = f"/variants/{variant_id}/prices/station"
    begins = {"valid_from": "2025-07-01T00:00:00Z", "price_unit": 500}
    put(path, begins | {"price_fen": 1})

    put(path, begins | {"price_fen": 68000})
    put(path, {"price_fen": 60000, "price_unit": 500})

    shown = client.get(f"{URL}/variants/{variant_id}/prices").json["items"]
    assert [price["price_fen"] for price in shown] == [68000, 60000]


def test_setting_the_price_that_returned_after_a_dated_one_says_nothing(
    post: Any, put: Any, recorded_events: Recorded
) -> None:
    variant_id = post("/products", a_product()).json["variants"][0]["variant_id"]
    path = f"/variants/{variant_id}/prices/online"
    base = {"price_fen": 68000, "price_unit": 500}
    first = put(path, base | {"valid_from": "2025-01-01T00:00:00Z"})
    offer = {"valid_from": "2025-07-01T00:00:00Z", "valid_to": "2025-07-02T00:00:00Z"}
    put(path, base | offer | {"price_fen": 60000})

    again = put(path, base)

    assert again.json == first.json
    assert [kind for kind, _ in recorded_events()].count("catalog.price_changed.v1") == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"price_fen": 0},
        {"price_fen": -1},
        {"price_fen": 1.5},
        {"price_fen": "1"},
        {"price_fen": 10**19},
        {"price_unit": 0},
        {"valid_from": "2025-07-01T00:00:00"},
        {"valid_from": "2025-07-02T00:00:00Z", "valid_to": "2025-07-01T00:00:00Z"},
        {"currency": "USD"},
    ],
)
def test_an_impossible_price_is_refused(post: Any, put: Any, changes: dict[str, Any]) -> None:
    variant_id = post("/products", a_product()).json["variants"][0]["variant_id"]
    price = {"price_fen": 68000, "price_unit": 500}

    answer = put(f"/variants/{variant_id}/prices/online", price | changes)

    assert answer.status_code == 422


def test_a_price_in_an_unknown_channel_or_of_an_unknown_variant_is_not_found(
    post: Any, put: Any
) -> None:
    variant_id = post("/products", a_product()).json["variants"][0]["variant_id"]
    price = {"price_fen": 68000, "price_unit": 500}

    assert put(f"/variants/{variant_id}/prices/market", price).status_code == 404
    assert put(f"/variants/{new_id()}/prices/online", price).status_code == 404


# --- Who may ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/enterprises", "stock:write"),
        ("POST", "/products", "stock:write"),
        ("POST", "/lots", "catalog:write"),
        ("POST", "/stock/receipts", "stock:read"),
        ("POST", "/stock/adjustments", "stock:read"),
        ("POST", "/stock/moves", "stock:read"),
        ("POST", "/imports/products", "stock:write"),
        ("POST", "/imports/stock", "stock:read"),
        ("GET", "/stock", "catalog:write"),
        ("GET", "/stock/summary", "orders:place"),
        ("GET", "/exports/stock.csv", "orders:place"),
        ("GET", f"/trace/{UNKNOWN_ID}", "stock:read"),
    ],
)
def test_a_token_without_the_scope_is_refused_and_none_is_asked_for(
    client: FlaskClient, token: Token, method: str, path: str, scope: str
) -> None:
    without_token = client.open(URL + path, method=method, json={} if method == "POST" else None)
    with_another = client.open(
        URL + path, method=method, json={} if method == "POST" else None, headers=token(scope)
    )

    assert (without_token.status_code, with_another.status_code) == (401, 403)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/enterprises", an_enterprise(bank="1")),
        ("/enterprises", an_enterprise(code="with space")),
        ("/enterprises", an_enterprise(code="x\n")),
        ("/enterprises", an_enterprise(names={"zh": "a\x00b"})),
        ("/enterprises", an_enterprise(names={"zh": "\ud800"})),
        ("/enterprises", an_enterprise(names={"en": "no Chinese"})),
        ("/enterprises", an_enterprise(roles=[])),
        ("/enterprises", an_enterprise(names={"zh": "\u3000\u3000"})),
        ("/products", a_product(variants=[])),
        ("/products", a_product(names={"zh": "   "})),
        ("/products", a_product(category="\u200b")),
        ("/products", a_product(perishable="yes")),
        ("/products", []),
        ("/lots", {}),
    ],
)
def test_a_malformed_request_is_refused_and_leaves_nothing(
    post: Any, recorded_events: Recorded, path: str, body: Any
) -> None:
    answer = post(path, body)

    assert answer.status_code == 422
    assert answer.content_type.startswith("application/problem+json")
    assert recorded_events() == []


@pytest.fixture
def prices_shown(
    post: Any, put: Any, client: FlaskClient, token: Token
) -> Callable[..., tuple[set[str], set[str]]]:
    """Set a price in each channel; return the channels that a caller with these scopes is shown.

    They are those of the list, and those of the export. Without scopes there is no token, and no
    export.
    """
    variant_id = post("/products", a_product()).json["variants"][0]["variant_id"]
    for channel in CHANNELS:
        put(f"/variants/{variant_id}/prices/{channel}", {"price_fen": 68000, "price_unit": 500})

    def shown(*scopes: str) -> tuple[set[str], set[str]]:
        headers = token(*scopes) if scopes else {}
        listed = client.get(f"{URL}/variants/{variant_id}/prices", headers=headers)
        assert listed.status_code == 200
        channels = {price["channel"] for price in listed.json["items"]}
        if not scopes:
            return channels, set()
        exported = client.get(f"{URL}/exports/prices.csv", headers=token("stock:read", *scopes))
        assert exported.status_code == 200
        return channels, {line.split(",")[1] for line in exported.text.splitlines()[1:]}

    return shown


def test_wholesale_prices_are_not_public(prices_shown: Any) -> None:
    channels, _ = prices_shown()

    assert channels == {"online", "station"}


@pytest.mark.parametrize(
    ("scopes", "more"),
    [
        (("orders:place", "orders:place_for"), set()),
        (("stock:read", "channel:station"), set()),
        (("channel:company",), {"company"}),
        (("channel:company", "channel:cooperative"), {"company", "cooperative"}),
        (("catalog:write",), {"company", "cooperative"}),
        (ROLES["channel"], set()),
        (ROLES["clerk"], set()),
        (ROLES["operator"], {"company", "cooperative"}),
    ],
)
def test_a_caller_reads_the_prices_of_its_own_channels(
    prices_shown: Any, scopes: tuple[str, ...], more: set[str]
) -> None:
    listed, exported = prices_shown(*scopes)

    assert listed == exported == {"online", "station"} | more


def test_prices_are_not_shown_to_an_invalid_token(client: FlaskClient) -> None:
    url = f"{URL}/variants/{new_id()}/prices"

    answers = [client.get(url, headers={"Authorization": f"Bearer {t}"}) for t in ("x.y.z", "")]

    assert [answer.status_code for answer in answers] == [401, 401]


def test_products_are_listed_by_their_last_change(post: Any, get: Any) -> None:
    variant = a_product()["variants"][0]
    first = post("/products", a_product()).json
    cordyceps = a_product(code="CORDYCEPS", variants=[variant | {"sku": "C-1"}])
    moment = post("/products", cordyceps).json["changed_at"]
    withdrawn = post(f"/products/{first['product_id']}/withdraw").json

    listed = get("/products", changed_since=moment, limit=1).json
    rest = get("/products", changed_since=moment, cursor=listed["next"]).json

    assert [each["code"] for each in listed["items"]] == ["CORDYCEPS"]
    assert (rest["items"], rest["next"]) == ([withdrawn], None)
    assert rest["next_changed_since"] == listed["next_changed_since"]
    # A repetition changes nothing.
    assert post(f"/products/{first['product_id']}/withdraw").json == withdrawn
    assert get("/products", changed_since="2199-01-01T00:00:00Z").json["items"] == []
