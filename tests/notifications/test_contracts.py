"""The event contracts over HTTP: what integrators may see, without a token."""

import re

import pytest

from shared.events import BY_TYPE
from shared.events.description import ASYNCAPI, ENVELOPE, PUBLIC, read_json, schema

pytestmark = pytest.mark.parametrize("harness", ["sqlite"], indirect=True)

INTERNAL = sorted(BY_TYPE.keys() - set(PUBLIC))


def test_each_public_type_has_its_schema_at_the_address_in_the_list(client):
    items = client.get("/api/events/v1/schemas").json["items"]

    assert [item["type"] for item in items] == list(PUBLIC)
    for item in items:
        answer = client.get(item["schema"])
        assert answer.mimetype == "application/schema+json"
        assert answer.json == schema(item["type"])
        assert item["dataschema"] == answer.json["$id"]


def test_the_envelope_and_the_asyncapi_document_are_served_as_they_are(client):
    assert client.get("/api/events/v1/schemas/envelope").json == schema(ENVELOPE)
    assert client.get("/api/events/v1/asyncapi.json").json == read_json(ASYNCAPI)


@pytest.mark.parametrize("name", [*INTERNAL, "orders.order_noted.v1", "..%2Fasyncapi", "%00"])
def test_an_internal_or_unknown_type_is_not_found(client, name):
    for path in ("v1/schemas", "docs"):
        answer = client.get(f"/api/events/{path}/{name}")

        assert answer.status_code == 404
        assert answer.mimetype == "application/problem+json"


def test_the_pages_lead_to_every_public_type_and_load_nothing_from_elsewhere(client):
    index = client.get("/api/events/docs")
    pages = re.findall(r'href="(/api/events/docs/[^"]+\.v\d+)"', index.text)

    assert [page.rpartition("/")[2] for page in pages] == list(PUBLIC)
    for answer in (index, *map(client.get, pages)):
        assert answer.status_code == 200
        assert "script" not in answer.headers["Content-Security-Policy"]
        for link in re.findall(r'(?:href|src)="([^"]+)"', answer.text):
            assert client.get(link).status_code == 200
    confirmed = client.get("/api/events/docs/orders.order_confirmed.v1").text
    assert "<td><code>lines[].lots[].lot_id</code></td>" in confirmed
    assert "<code>cash_on_delivery</code>, <code>prepaid</code>" in confirmed
    assert "&lt;code" not in confirmed + index.text


@pytest.mark.parametrize(
    "path", ["v1/schemas", "v1/schemas/envelope", "v1/asyncapi.json", "docs", "docs/style.css"]
)
def test_an_answer_may_be_kept_and_asked_for_again(client, path):
    answer = client.get(f"/api/events/{path}")

    again = client.get(f"/api/events/{path}", headers={"If-None-Match": answer.headers["ETag"]})

    assert answer.headers["Cache-Control"].startswith("public, max-age=")
    assert (again.status_code, again.data) == (304, b"")
