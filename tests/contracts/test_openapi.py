"""The four OpenAPI documents: requests made from them find nothing, and each route is explained.

The services stand on one small world, told over HTTP and by the events between them, so that
requests made from a document meet rows. schemathesis runs as its command would: every edge case
of the document, random requests that fit it or do not, and sequences of requests.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
from farmgate.services import NAMES
from shared.runtime import clock
from shared.runtime.ids import new_id
from tests.support.chance import examples
from tests.support.world import World

#: Requests made at random per route, and sequences of requests per service; and where chance
#: begins. More and elsewhere now and then find what the usual few do not.
EXAMPLES = int(os.environ.get("OPENAPI_EXAMPLES", "10"))
SEED = int(os.environ.get("OPENAPI_SEED", "1"))
#: Routes that take only what a company signed: tests/orders/payments speaks their formats.
OF_COMPANIES = "/payments/callbacks/(stripe|wechatpay)$"
#: How often an id of the world stands where the document has an id of that name.
KNOWN = 0.6


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


#: The subscription whose endpoints the routes of webhooks need.
FOLLOWED = "/api/events/v1/subscriptions/operator"


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
        ).exclude(path_regex=OF_COMPANIES)
        if name == "orders":
            callbacks = "/api/orders/v1/payments/callbacks"
            schema.auth.set_from_requests(Signed(world.payment_secret)).apply_to(path=callbacks)
        paths = {result.ok().path for result in schema.get_all_operations()}

        @schema.hook
        def filter_case(context: schemathesis.HookContext, case: schemathesis.Case) -> bool:
            """Leave out a request whose id is the name of a route beside it: that one answers.

            And the one that would delete the subscription with all endpoints.
            """
            if (case.method, case.formatted_path) == ("DELETE", FOLLOWED):
                return False
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
            signed = [[{name: []}] for name in ("signature", "stripe", "wechatpay")]
            open_ = ([], [{}, {"bearer": []}], *signed)
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
