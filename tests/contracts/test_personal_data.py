"""Names, telephone numbers and addresses go in at every input, and no integrator reads them."""

import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from farmgate.roles import ROLES
from services.notifications.rules.feed import GRANTS
from shared.events.description import ASYNCAPI, EXAMPLES, PUBLIC, SCHEMAS
from shared.messaging.tables import Outbox
from shared.runtime import clock, keys
from tests.support.world import World

NAME, PHONE, ADDRESS = "卓玛央金", "13912345678", "八一镇幸福路7号"
PLANTED = (NAME, PHONE, ADDRESS)
#: Texts about goods and places: public by their purpose. An enterprise may be one person.
PUBLIC_TEXTS = {"zh", "bo", "en", "sku", "grade", "storage", "category", "opening_hours"}
#: What the services tell each other in confidence.
CONFIDENTIAL = {
    "orders.contact_given.v1",
    "orders.parcel_handed_over.v1",
    "catalog.enterprise_contact_given.v1",
}
SHOP = "shop"


class PlantedWorld(World):
    """A world in which each request has a name, a phone or an address in all its texts."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.documents = {
            name: app.test_client().get(f"/api/{name}/openapi.json").json
            for name, app in self.apps.items()
        }
        #: The fields that took one, as `service.field`.
        self.took: set[str] = set()

    def send(
        self, method: str, service: str, path: str, body: Any = None, token: str | None = None
    ) -> Any:
        """Send a request with all that the document allows; without what is refused."""
        schema = self._schema(method, service, path)
        kept = () if path.startswith("/enterprises") else PUBLIC_TEXTS
        found = self._places(service, schema, body) if schema else ()
        places = [place for place in found if place[0][-1] not in kept]
        # Free texts and those of a pattern, then free texts only, then the request as it is.
        free = [(at, told) for at, told in places if re.search(told.get("pattern", ""), NAME)]
        for chosen in (places, free):
            planted = json.loads(json.dumps(body))
            took = [".".join(map(str, at)) for at, told in chosen if _plant(planted, at, told)]
            answer = super().send(method, service, path, planted, token)
            if answer.status_code < 300:
                self.took.update(f"{service}.{re.sub('[0-9]+', '*', at)}" for at in took)
                return answer
        return super().send(method, service, path, body, token)

    def _schema(self, method: str, service: str, path: str) -> Any:
        """Return the schema of a route's body, if it has one."""
        url = path if path.startswith("/api/") else f"/api/{service}/v1{path}"
        paths = self.documents[service]["paths"]
        # A literal path is before one with parameters.
        for template in sorted(paths, key=lambda each: each.count("{")):
            pattern = re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(template))
            operation = paths[template].get(method.lower(), {})
            content = operation.get("requestBody", {}).get("content", {})
            if re.fullmatch(pattern, url) and "application/json" in content:
                return content["application/json"]["schema"]
        return None

    def _places(
        self, service: str, schema: Any, value: Any, at: tuple[Any, ...] = ()
    ) -> Iterator[tuple[tuple[Any, ...], Any]]:
        """Yield where a body takes text, with the schema of the text."""
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            schema = self.documents[service]["components"]["schemas"][name]
        for choice in schema.get("anyOf", []) if isinstance(value, dict) else []:
            kind = choice.get("properties", {}).get("kind", {})
            if value.get("kind") in (kind.get("const"), *kind.get("enum", [])):
                yield from self._places(service, choice, value, at)
        if isinstance(value, list):
            for number, item in enumerate(value):
                yield from self._places(service, schema.get("items", {}), item, (*at, number))
        if not isinstance(value, dict):
            return
        for name, told in schema.get("properties", {}).items():
            is_text = "string" in (told.get("type"), *_listed(told.get("type")))
            if is_text and not {"format", "enum", "const"} & told.keys():
                if not re.search("code$|^secret$|_version$", name):
                    yield (*at, name), told
            elif name in value:
                yield from self._places(service, told, value[name], (*at, name))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _plant(body: Any, at: tuple[Any, ...], told: Any) -> bool:
    """Write personal data to a place of a body, if its pattern allows any."""
    for key in at[:-1]:
        body = body[key]
    usual = PHONE if at[-1] == "phone" else ADDRESS if at[-1] == "address" else NAME
    for text in (usual, PHONE, f"tel_{PHONE}"):
        if re.search(told.get("pattern", ""), text) and len(text) <= told.get("maxLength", 99):
            body[at[-1]] = text
            return True
    return False


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlantedWorld]:
    """A world with a partner that an operator lets see everything that can be granted."""
    made = PlantedWorld(tmp_path_factory.mktemp("planted"))
    shop = keys.issue_token(made.folder, SHOP, ROLES["channel"], 3600)
    made.call("PUT", "notifications", "/api/events/v1/subscription", {"types": ["*"]}, shop)
    grants = {"grants": list(GRANTS)}
    made.call("PUT", "notifications", f"/api/events/v1/subscriptions/{SHOP}/grants", grants)
    made.live()
    _live_on(made, shop)
    yield made
    made.close()


def _live_on(world: PlantedWorld, shop: str) -> None:
    """Let orders of the shop end in several ways, and stations and lots come to grief."""
    site_id, lot_id = world.ids["site_id"][-1], world.ids["lot_id"][0]
    order = {
        "payment_method": "cash_on_delivery",
        "site_id": site_id,
        "collect": False,
        "lines": [{"variant_id": world.ids["variant_id"][0], "quantity": 500}],
        "contact": {"name": NAME, "phone": PHONE, "address": ADDRESS},
    }
    for number, ending in enumerate(("deliver", "fail", "cancel")):
        buyer = {"buyer_id": f"buyer-{number}"}
        order_id = world.call("POST", "orders", "/orders", order | buyer, shop)["order_id"]
        if ending == "cancel":
            world.call("POST", "orders", f"/orders/{order_id}/cancel", {"reason": "changed"}, shop)
            continue
        (shipment,) = world.call("GET", "logistics", f"/shipments?order_id={order_id}")["items"]
        way = f"/shipments/{shipment['shipment_id']}"
        world.call("POST", "logistics", f"{way}/pack")
        world.call("POST", "logistics", f"{way}/dispatch")
        for stop in world.ids["site_id"][1:3]:
            world.call("POST", "logistics", f"{way}/arrivals", {"site_id": stop})
        if ending == "deliver":
            due = world.call("GET", "orders", f"/orders/{order_id}")["total_fen"]
            handed = {"received_by": "x", "collected_fen": due - 1, "difference_reason": "x"}
            world.call("POST", "logistics", f"{way}/deliver", handed)
        else:
            world.call("POST", "logistics", f"{way}/fail", {"reason": "refused"})
            world.call("POST", "logistics", f"{way}/return", {"restock": True})
    _upload(world)
    cash = {"site_id": site_id, "clerk": "x", "sent_fen": 2, "counted_fen": 1, "reason": "x"}
    world.call("POST", "orders", "/cash/remittances", cash)
    for allotment_id in world.ids["allotment_id"][:1]:
        world.call("POST", "catalog", f"/allotments/{allotment_id}/suspend", {"reason": "x"})
    for sale_id in world.ids["sale_id"][:1]:
        settled = {"resolution": "lose", "reason": "x"}
        world.call("POST", "catalog", f"/overdrafts/{sale_id}/settle", settled)
    world.call("POST", "catalog", f"/lots/{lot_id}/hold", {"reason": "x"})
    world.call("POST", "catalog", f"/lots/{lot_id}/recall", {"reason": "x"})


def _upload(world: PlantedWorld) -> None:
    """Let the till upload a void, an order, a hand-over and the end of its shift."""
    common = {"clerk": NAME, "shift": 1, "device_time": clock.rfc3339(clock.now())}
    order = {
        "contact": {"name": NAME, "phone": PHONE, "address": ADDRESS},
        "payment_method": "cash_at_station",
        "lines": [{"variant_id": world.ids["variant_id"][0], "quantity": 500}],
    }
    entries = [
        {"kind": "void", "of": 2, "refund_fen": 500, "payment": "cash", "reason": NAME},
        {
            "kind": "hand_over",
            "shipment_id": world.ids["shipment_id"][0],
            "received_by": NAME,
            "collected_fen": 1,
            "payment": "cash",
            "difference_reason": f"{NAME} {PHONE} {ADDRESS}",
        },
        {"kind": "order", "order": order},
        {"kind": "shift_close", "counted_fen": 0, "note": f"{NAME} {PHONE} {ADDRESS}"},
    ]
    numbered = [common | {"number": number} | each for number, each in enumerate(entries, 5)]
    body = {"format": 1, "entries": numbered}
    world.call("POST", "orders", "/till/entries", body, world.till_token)


def planted_in(text: str | bytes) -> list[str]:
    """Return what was planted and is in a text, also if its JSON escapes characters."""
    read = text if isinstance(text, str) else text.decode()
    if "\\u" in read:
        read = json.dumps(json.loads(read), ensure_ascii=False)
    return [each for each in PLANTED if each in read]


def test_no_public_event_has_what_was_planted_and_confidential_ones_have(
    world: PlantedWorld,
) -> None:
    found = set()
    for database in world.databases.values():
        with database.readers() as session:
            for type_, body in session.execute(select(Outbox.type, Outbox.body)):
                if planted_in(body):
                    found.add(type_)

    assert found == CONFIDENTIAL
    assert not found & set(PUBLIC)
    inputs = (
        *("orders.contact.name", "orders.contact.phone", "orders.contact.address"),
        *("logistics.received_by", "logistics.difference_reason", "catalog.reason"),
        *("orders.entries.*.clerk", "orders.reason", "catalog.contact.phone"),
        "catalog.names.zh",
    )
    assert world.took >= set(inputs)


def test_no_schema_example_or_document_has_it() -> None:
    for path in (*SCHEMAS.iterdir(), *EXAMPLES.iterdir(), ASYNCAPI):
        assert not planted_in(path.read_text("utf-8")), path


def test_a_partner_that_may_see_all_reads_none_of_it(world: PlantedWorld) -> None:
    scopes = {None, *ROLES["channel"]}
    shop = keys.issue_token(world.folder, SHOP, ROLES["channel"], 3600)
    read = set()
    for service, document in world.documents.items():
        for template, operations in document["paths"].items():
            operation = operations.get("get")
            if operation is None or operation.get("x-required-scope") not in scopes:
                continue
            for url in islice(_urls(world, template), 40):
                for headers in ({}, {"Authorization": f"Bearer {shop}"}):
                    answer = world.apps[service].test_client().get(url, headers=headers)
                    assert not planted_in(answer.data), (url, answer.text)
                    if headers and answer.status_code == 200:
                        read.add(template)

    assert {"/api/events/v1/events", "/api/orders/v1/orders/{order_id}"} <= read


def _urls(world: PlantedWorld, template: str) -> Iterator[str]:
    """Yield a route's addresses with what the world has for its parameter."""
    names = re.findall(r"\{([^}]*)\}", template)
    if not names:
        yield template
    elif len(names) == 1:
        for value in world.ids.get(names[0], []):
            yield template.replace(f"{{{names[0]}}}", value)
