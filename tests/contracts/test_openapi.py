"""The four OpenAPI documents: requests made from them find nothing, and each route is explained.

The services stand on one small world, told over HTTP and by the events between them, so that
requests made from a document meet rows. schemathesis runs as its command would: every edge case
of the document, random requests that fit it or do not, and sequences of requests.
"""

import os
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import schemathesis
from flask import Flask
from jsonschema_rs import validator_for
from requests import PreparedRequest
from requests.auth import AuthBase
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import StopReason, events, from_schema
from standardwebhooks.webhooks import Webhook
from werkzeug.serving import WSGIRequestHandler, make_server

from farmgate.roles import DEVICE_SCOPES, SCOPES
from farmgate.services import NAMES, application_of, service_of
from services.catalog.timers import publish_availability
from shared.messaging.envelope import decode
from shared.messaging.processing import Processor
from shared.messaging.store import Store
from shared.runtime import api_keys, clock, devices, keys, migrations
from shared.runtime.config import Settings
from shared.runtime.ids import new_id
from shared.runtime.tables import ApiKey
from tests.support.chance import examples

#: Requests made at random per route, and sequences of requests per service; and where chance
#: begins. More and elsewhere now and then find what the usual few do not.
EXAMPLES = int(os.environ.get("OPENAPI_EXAMPLES", "10"))
SEED = int(os.environ.get("OPENAPI_SEED", "1"))
#: How often an id of the world stands where the document has an id of that name.
KNOWN = 0.6


class World:
    """Four applications, each on its own database, and a bus that runs when it is told to."""

    def __init__(self, folder: Path) -> None:
        keys.ensure(folder)
        environment = {
            "FARMGATE_DATA": str(folder),
            "FARMGATE_PAYMENT_SECRET_FILE": str(folder / "keys" / "payment_secret"),
        }
        self.token = keys.issue_token(folder, "operator", SCOPES, 3600)
        self.payment_secret = (folder / "keys" / "payment_secret").read_text("utf-8").strip()
        self.apps: dict[str, Flask] = {}
        for name in NAMES:
            settings = Settings.from_environment(name, environment)
            migrations.upgrade(name, settings.database_url)
            self.apps[name] = application_of(name)(settings)
        self.databases = {n: app.extensions["farmgate"].database for n, app in self.apps.items()}
        self.processors = [Processor(service_of(n), self.databases[n]) for n in NAMES]
        #: Values of the ids in all answers, by name; and enrolment codes that nobody has used.
        self.ids: defaultdict[str, list[str]] = defaultdict(list)
        self.requests = 0
        #: The key of a device, by which its till calls.
        self.till_key = UUID(int=0)
        self.till_token = ""

    def close(self) -> None:
        """Close the databases."""
        for database in self.databases.values():
            database.close()

    def call(
        self, method: str, service: str, path: str, body: Any = None, token: str | None = None
    ) -> Any:
        """Return the answer to a request (an operator's), when all services have heard of it."""
        self.requests += 1
        answer = (
            self.apps[service]
            .test_client()
            .open(
                f"/api/{service}/v1{path}",
                method=method,
                json=body,
                headers={
                    "Authorization": f"Bearer {token or self.token}",
                    "Idempotency-Key": f"world-{self.requests}",
                },
            )
        )
        assert answer.status_code < 300, answer.text
        self._tell()
        self._note(answer.json)
        return answer.json

    def live(self) -> None:
        """Let an order be placed and planned, and one more that is not decided yet."""
        names = {"zh": "巴河镇"}
        sites = [
            {"code": "C", "level": "centre", "names": names},
            {"code": "K", "level": "county", "parent_code": "C", "names": names},
            {"code": "T", "level": "township", "parent_code": "K", "names": names},
        ]
        centre, _, township = self.call("POST", "logistics", "/sites/batch", {"sites": sites})[
            "sites"
        ]
        route = {"from_code": "C", "to_code": "K", "hours": 5, "cold": True}
        self.call("POST", "logistics", "/routes", route)
        producer = self.call(
            "POST",
            "catalog",
            "/enterprises",
            {
                "code": "P-1",
                "names": names,
                "roles": ["producer"],
                "contact": {"phone": "+8613800138000", "language": "zh"},
            },
        )
        variant = {"sku": "M-A", "grade": "A", "unit": "g", "pack_quantity": 500}
        product = {"code": "M", "names": names, "category": "fungi", "perishable": True}
        listed = self.call(
            "POST",
            "catalog",
            "/products",
            product | {"shelf_life_days": 5, "variants": [variant]},
        )
        variant_id = listed["variants"][0]["variant_id"]
        price = {"price_fen": 6800, "price_unit": 500}
        self.call("PUT", "catalog", f"/variants/{variant_id}/prices/online", price)
        lot = {
            "code": "L-1",
            "variant_id": variant_id,
            "producer_id": producer["enterprise_id"],
            "harvest_date": clock.today().isoformat(),
        }
        lot_id = self.call("POST", "catalog", "/lots", lot)["lot_id"]
        self.call("POST", "catalog", f"/lots/{lot_id}/inspect")
        self.call("POST", "catalog", f"/lots/{lot_id}/release")
        receipt = {"lot_id": lot_id, "location_id": centre["site_id"], "quantity": 100_000}
        self.call("POST", "catalog", "/stock/receipts", receipt)
        order = {
            "channel": "online",
            "site_id": township["site_id"],
            "collect": True,
            "lines": [{"variant_id": variant_id, "quantity": 1000}],
            "contact": {"name": "卓玛", "phone": "+8613800138000"},
        }
        for paid, buyer in (("cash_on_delivery", None), ("prepaid", "operator")):
            self.call(
                "POST", "orders", "/orders", order | {"payment_method": paid, "buyer_id": buyer}
            )
        self.open_station(township["site_id"], centre["site_id"], lot)
        catalog = self.apps["catalog"].extensions["farmgate"]
        publish_availability(catalog.database, catalog.settings)
        assert self.call("GET", "catalog", "/availability")["items"]
        for path in ("/shipments", "/routes"):
            self.call("GET", "logistics", path)
        for path in ("/messages", "/inbox"):
            self.call("GET", "notifications", path)

    def open_station(self, site_id: str, centre_id: str, lot: dict[str, Any]) -> None:
        """Let devices hold some lots, and one of them sell what it was not granted."""
        for number in range(2, 5):
            lot_id = self.call("POST", "catalog", "/lots", lot | {"code": f"L-{number}"})["lot_id"]
            self.call("POST", "catalog", f"/lots/{lot_id}/inspect")
            self.call("POST", "catalog", f"/lots/{lot_id}/release")
            receipt = {"lot_id": lot_id, "location_id": centre_id, "quantity": 100_000}
            self.call("POST", "catalog", "/stock/receipts", receipt)
        variant_id = lot["variant_id"]
        rule = {"keep": 500}
        self.call("PUT", "catalog", f"/standing-rules/{site_id}/{variant_id}", rule)
        for number in range(3):
            device_id = self.enrol(site_id)
            for lot_id in self.ids["lot_id"]:
                grant = {"device_id": device_id, "lot_id": lot_id, "quantity": 5000}
                self.call("POST", "catalog", "/allotments", grant)
            said = {
                "seen_revision": 0,
                "unsynced": 0,
                "last_number": number,
                "device_time": clock.rfc3339(clock.now()),
                "app_version": "world",
            }
            self.call("POST", "catalog", "/till/contact", said, self.till_token)
            self.sell_too_much(lot_id, variant_id)
            # What stands there is asked to sell, and must not be revoked meanwhile.
            self.ids["device_id"].append(self.invite(site_id)["device_id"])

    def sell_too_much(self, lot_id: str, variant_id: str) -> None:
        """Let the till upload sales within its grant and beyond it."""
        common = {"clerk": "卓玛", "shift": 1, "device_time": clock.rfc3339(clock.now())}
        entries: list[dict[str, Any]] = [
            common | {"number": 1, "kind": "shift_open", "float_fen": 0}
        ]
        for number, quantity in enumerate((500, 1_000_000, 1_000_001), 2):
            line = {
                "line_no": 1,
                "variant_id": variant_id,
                "lot_id": lot_id,
                "quantity": quantity,
                "price_fen": 1,
                "price_unit": 1,
                "line_total_fen": quantity,
            }
            sale = {"lines": [line], "total_fen": quantity, "payment": "cash"}
            entries.append(common | {"number": number, "kind": "sale"} | sale)
        body = {"format": 1, "entries": entries}
        self.call("POST", "orders", "/till/entries", body, self.till_token)
        self.call("GET", "catalog", "/overdrafts")

    def invite(self, site_id: str) -> Any:
        """Register a device; return it with its code, which nobody uses."""
        invited = self.call("POST", "catalog", "/devices", {"site_id": site_id, "name": "柜台"})
        self.ids["code"].append(invited["enrolment_code"])
        return invited

    def enrol(self, site_id: str) -> str:
        """Let a till stand at a site, with a key that all services know; return its device."""
        code, secret = self.invite(site_id)["enrolment_code"], api_keys.new_secret()
        self.ids["code"].remove(code)
        body = {"code": code, "secret": secret}
        enrolled = self.call("POST", "catalog", "/till/enrol", body)
        self.till_key = UUID(enrolled["key_id"])
        self.till_token = api_keys.token_of(self.till_key, secret)
        self.ids["device_id"].remove(enrolled["device_id"])
        return str(enrolled["device_id"])

    def present_till(self) -> str:
        """Return the token of a till; of a new one, if the last was revoked or replaced."""
        with self.databases["catalog"].readers() as reader:
            key = reader.get(ApiKey, self.till_key)
        if key is None or devices.TILL not in key.scopes:
            self.enrol(self.ids["site_id"][-1])
        return self.till_token

    def _note(self, answer: Any) -> None:
        if isinstance(answer, list):
            for item in answer:
                self._note(item)
        elif isinstance(answer, dict):
            for name, value in answer.items():
                if isinstance(value, str) and name.endswith("_id"):
                    if value not in self.ids[name]:
                        self.ids[name].append(value)
                else:
                    self._note(value)

    def _tell(self) -> None:
        """Hand on what the services have recorded, until nobody has anything to say."""
        told = True
        while told:
            told = False
            for database in self.databases.values():
                store = Store(database)
                rows = store.waiting(100)
                said = [decode(row.body) for row in rows]
                for processor in self.processors:
                    processor.process(
                        [e for e in said if e.type in processor.types], _never_unavailable
                    )
                store.mark(rows)
                store.close()
                told = told or bool(rows)


def _never_unavailable(seconds: float) -> None:
    raise AssertionError("the database is away")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Four services that have an order to talk about."""
    made = World(tmp_path_factory.mktemp("world"))
    made.live()
    yield made
    made.close()


class Quiet(WSGIRequestHandler):
    """Speaks HTTP/1.1, so that connections are kept, and tells nobody of each request."""

    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing: the services log their requests themselves."""


class Signed(AuthBase):
    """Signs a request's body as the payment provider would."""

    def __init__(self, secret: str) -> None:
        self.webhook = Webhook(secret)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the three headers of Standard Webhooks; what is no text stays unsigned."""
        body = request.body or b""
        try:
            text = body if isinstance(body, str) else body.decode()
        except UnicodeDecodeError:
            return request
        moment = clock.now()
        request.headers["webhook-id"] = f"msg-{new_id()}"
        request.headers["webhook-timestamp"] = str(int(moment.timestamp()))
        request.headers["webhook-signature"] = self.webhook.sign(
            request.headers["webhook-id"], moment, text
        )
        return request


class FromTill(AuthBase):
    """Sends a request with the key of a till that stands at a station."""

    def __init__(self, world: World) -> None:
        self.world = world

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the key."""
        request.headers["Authorization"] = f"Bearer {self.world.present_till()}"
        return request


@contextmanager
def _serving(app: Flask) -> Iterator[str]:
    """Answer HTTP at the address given; schemathesis' engine cannot do all it does without."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    answering = threading.Thread(target=server.serve_forever, args=(0.02,))
    answering.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        answering.join()
        server.server_close()


def _configuration(world: World, whole: bool) -> SchemathesisConfig:
    return SchemathesisConfig.from_dict(
        {
            "phases": {"coverage": {"enabled": whole}},
            "seed": SEED,
            "headers": {"Authorization": f"Bearer {world.token}"},
            "dictionaries": {name: {"values": ids} for name, ids in world.ids.items()},
            "parameters": {
                f"{place}.{name}": {"dictionary": name, "probability": KNOWN}
                for name in world.ids
                for place in ("path", "query", "body")
            },
            "generation": {"max-examples": EXAMPLES if whole else examples(3), "database": "none"},
            # A request that fits the document may still name what does not exist (404, 422), ask
            # for what the present state forbids (409), or bring an Idempotency-Key that another
            # request used (422): what a schema cannot say. That each route also accepts some
            # is asserted below. All other checks are on.
            "checks": {
                "positive_data_acceptance": {"expected-statuses": ["2xx", "404", "409", "422"]}
            },
        }
    )


def _found(event: events.EngineEvent) -> set[str]:
    """Return what an event of a run tells against the service or its document."""
    if isinstance(event, events.FatalError):
        raise event.exception
    if isinstance(event, events.NonFatalError):
        return {f"{event.label}: {event.value!r}"}
    if isinstance(event, events.EngineFinished):
        assert event.stop_reason is StopReason.COMPLETED
    if not isinstance(event, events.ScenarioFinished):
        return set()
    failed = [
        (check.name, check.failure_info)
        for checks in event.recorder.checks.values()
        for check in checks
        if check.failure_info is not None
    ]
    return {
        f"{info.failure.operation}: {name}: {info.failure.title}\n"
        f"{info.failure.message}\n{info.code_sample}"
        for name, info in failed
    }


def _accepted(event: events.EngineEvent) -> set[str]:
    """Return the routes that did what they were asked for."""
    if not isinstance(event, events.ScenarioFinished):
        return set()
    return {
        event.recorder.cases[case_id].value.operation.label
        for case_id, interaction in event.recorder.interactions.items()
        if interaction.response is not None and interaction.response.status_code < 300
    }


@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")
@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.rest)])
@pytest.mark.parametrize("name", NAMES)
def test_requests_made_from_the_document_find_nothing(world: World, name: str, whole: bool) -> None:
    """Slow: some hundred requests at random; `whole` has thousands, each edge case among them."""
    findings = set()
    accepted = set()
    with _serving(world.apps[name]) as url:
        schema = schemathesis.openapi.from_url(
            f"{url}/api/{name}/openapi.json", config=_configuration(world, whole)
        )
        if name == "orders":
            callbacks = "/api/orders/v1/payments/callbacks"
            schema.auth.set_from_requests(Signed(world.payment_secret)).apply_to(path=callbacks)
        paths = {result.ok().path for result in schema.get_all_operations()}

        @schema.hook
        def filter_case(context: schemathesis.HookContext, case: schemathesis.Case) -> bool:
            """Leave out a request whose id is the name of a route beside it: that one answers."""
            return case.formatted_path == case.path or case.formatted_path not in paths

        for result in schema.get_all_operations():
            operation = result.ok()
            if operation.definition.raw.get("x-required-scope") in DEVICE_SCOPES:
                auth = schema.auth.set_from_requests(FromTill(world))
                auth.apply_to(method=operation.method, path=operation.path)
        for event in from_schema(schema).execute():
            findings |= _found(event)
            accepted |= _accepted(event)
        routes = {result.ok().label for result in schema.get_all_operations()}

    assert not findings, "\n\n".join(sorted(findings))
    if whole:
        # Refusals prove little about a route's answers: each was accepted, too.
        assert routes - accepted == set()


@pytest.mark.parametrize("name", NAMES)
def test_a_document_explains_each_route(world: World, name: str) -> None:
    document = world.apps[name].test_client().get(f"/api/{name}/openapi.json").json
    routes = [
        (path, method, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    ]
    tags = {tag["name"] for tag in document["tags"] if tag["description"]}

    for path, method, operation in routes:
        where = f"{method} {path}"
        assert operation["summary"].endswith("."), where
        assert set(operation["tags"]) <= tags, where
        # Who may: a token with a scope, everybody (a token shows more), or a signature.
        if operation["security"] == [{"bearer": [operation.get("x-required-scope")]}]:
            assert operation["x-required-scope"] in SCOPES, where
        else:
            open_ = ([], [{}, {"bearer": []}], [{"signature": []}])
            assert operation["security"] in open_, where
        for status, answer in operation["responses"].items():
            resolved = _resolved(document, answer)
            assert resolved["description"], where
            if int(status) >= 400:
                assert list(resolved["content"]) == ["application/problem+json"], where
    for pattern in _patterns(document):
        assert validator_for({"pattern": pattern}), "not in JavaScript's dialect"
    names = [operation["operationId"] for _, _, operation in routes]
    assert len(set(names)) == len(names)
    assert set().union(*(operation["tags"] for _, _, operation in routes)) == tags


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_a_document_fit_it(world: World, name: str) -> None:
    document = world.apps[name].test_client().get(f"/api/{name}/openapi.json").json
    bodies = [
        content["application/json"]
        for item in document["paths"].values()
        for operation in item.values()
        if "requestBody" in operation
        and "application/json" in (content := operation["requestBody"]["content"])
    ]

    for body in bodies:
        if "example" in body:
            schema = body["schema"] | {"components": document["components"]}
            assert validator_for(schema).is_valid(body["example"]), body["example"]


def _patterns(part: Any) -> Iterator[str]:
    """Go through all patterns of a document."""
    if isinstance(part, dict):
        if isinstance(part.get("pattern"), str):
            yield part["pattern"]
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from _patterns(inner)


def _resolved(document: Any, answer: Any) -> Any:
    """Return an answer's description itself where the document refers to a common one."""
    found = document
    if "$ref" not in answer:
        return answer
    for part in answer["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return found
