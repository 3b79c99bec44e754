"""Every answer of the HTTP base is one a client can act on."""

import io
import json
from collections.abc import Callable
from time import monotonic
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from marshmallow import fields
from marshmallow.validate import Length
from sqlalchemy import select
from sqlalchemy import text as sql

from shared import web
from shared.messaging.tables import Outbox
from shared.runtime import clock, errors
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.schemas import MOST_UNKNOWN, RequestSchema
from shared.web import Blueprint, problems, public
from shared.web.requests import MOST_ERRORS

Headers = Callable[..., dict[str, str]]
V1 = "/api/things/v1"
THING = {"name": "stone", "grams": 5}


def add(client: FlaskClient, headers: dict[str, str], body: Any = None, **changes: Any) -> Any:
    return client.post(f"{V1}/things", json=(body or THING) | changes, headers=headers)


def test_what_a_request_does_and_its_event_commit_together(
    client: FlaskClient, token: Headers, names: Callable[[], list[str]], database: Database
) -> None:
    answer = add(client, token("things:write"))

    assert answer.status_code == 201
    assert answer.headers["Location"] == f"{V1}/things/{answer.json['id']}"
    assert names() == ["stone"]
    with database.readers() as session:
        assert session.scalars(select(Outbox.subject)).all() == [f"order/{answer.json['id']}"]


def test_an_error_undoes_what_the_request_did(
    client: FlaskClient, token: Headers, names: Callable[[], list[str]], database: Database
) -> None:
    answer = add(client, token("things:write"), name="broken")

    assert answer.status_code == 500
    assert names() == []
    with database.readers() as session:
        assert session.scalars(select(Outbox.id)).all() == []


def test_a_refusal_is_a_problem_named_for_its_class(client: FlaskClient, token: Headers) -> None:
    answer = add(client, token("things:write"), grams=2000)

    assert answer.status_code == 409
    assert answer.content_type == "application/problem+json"
    assert answer.json == {
        "type": "/problems/too-heavy",
        "title": "Too heavy",
        "status": 409,
        "detail": "Take less.",
        "most_grams": 1000,
        "request_id": answer.headers["X-Request-Id"],
    }


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.BadRequest, 400),
        (errors.Unauthorized, 401),
        (errors.Forbidden, 403),
        (errors.NotFound, 404),
        (errors.Conflict, 409),
        (errors.Unprocessable, 422),
        (errors.Unavailable, 503),
        (errors.Misconfigured, 500),
    ],
)
def test_a_leaf_has_the_status_of_its_nearest_base(
    error: type[errors.FarmgateError], status: int
) -> None:
    leaf = type("Leaf", (error,), {})

    assert problems.status_of(leaf("what to do")) == status


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("OutOfStock", "out-of-stock"),
        ("UnknownVariant", "unknown-variant"),
        ("HTTPGone", "http-gone"),
    ],
)
def test_a_problem_type_is_the_class_name_in_words(name: str, slug: str) -> None:
    assert problems.slug_of(name) == slug


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"grams": 0}, "grams"),
        ({"grams": -1}, "grams"),
        ({"grams": "5"}, "grams"),
        ({"grams": 5.5}, "grams"),
        ({"grams": True}, "grams"),
        ({"grams": None}, "grams"),
        ({"grams": 2**63}, "grams"),
        ({"grams": 10**400}, "grams"),
        ({"name": ""}, "name"),
        ({"name": 7}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"name": "\ud800"}, "name"),
        ({"notes": ["fine", "a\x00b"]}, "notes"),
        ({"labels": {"deep": [{"a\x00b": 1}]}}, "labels"),
        ({"fragile": "yes"}, "fragile"),
        ({"fragile": 1}, "fragile"),
        ({"surprise": 1}, "surprise"),
        ({"\ud800": 1}, "\ud800"),
    ],
)
def test_a_field_that_cannot_be_is_named(
    client: FlaskClient,
    token: Headers,
    names: Callable[[], list[str]],
    changes: dict[str, Any],
    where: str,
) -> None:
    answer = add(client, token("things:write"), **changes)

    assert (answer.status_code, answer.json["type"]) == (422, "/problems/validation-failed")
    assert list(answer.json["errors"]) == [where]
    assert names() == []


def test_a_missing_body_says_which_fields_are_missing(client: FlaskClient, token: Headers) -> None:
    answer = client.post(f"{V1}/things", headers=token("things:write"))

    assert answer.status_code == 422
    assert set(answer.json["errors"]) == {"name", "grams"}


@pytest.mark.parametrize("body", ["[]", "1", '"x"', "null"])
def test_a_body_that_is_no_object_is_refused(
    client: FlaskClient, token: Headers, body: str
) -> None:
    headers = token("things:write") | {"Content-Type": "application/json"}

    answer = client.post(f"{V1}/things", data=body, headers=headers)

    assert answer.status_code == 422


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"name": "stone", "grams": NaN}',
        b'{"name": "stone", "grams": Infinity}',
        b'{"name": "\xff", "grams": 1}',
        b"[" * 100_000,
        b'{"grams": ' + b"9" * 5000 + b"}",
        b'{"name": "stone", "grams": 1e400}',
        b'{"name": "stone", "grams": 1, "labels": ' + b"[" * 65 + b"]" * 65 + b"}",
        b'{"name": "stone", "grams": 1',
        b'{"name": "stone", "grams": 1, "labels": {"a": 1, "a": 1}}',
    ],
    ids=["cut", "nan", "infinity", "latin", "deep", "digits", "huge", "deeper", "open", "twice"],
)
def test_a_body_that_is_no_json_is_refused(
    client: FlaskClient, token: Headers, body: bytes
) -> None:
    headers = token("things:write") | {"Content-Type": "application/json"}

    answer = client.post(f"{V1}/things", data=body, headers=headers)

    assert (answer.status_code, answer.json["type"]) == (400, "/problems/unreadable-body")


def test_a_repeated_key_is_refused_by_its_name(
    client: FlaskClient, token: Headers, names: Callable[[], list[str]]
) -> None:
    headers = token("things:write") | {"Content-Type": "application/json"}
    body = b'{"name": "stone", "grams": 5, "grams": 500}'

    answer = client.post(f"{V1}/things", data=body, headers=headers)

    assert (answer.status_code, answer.json["type"]) == (400, "/problems/unreadable-body")
    assert "the key 'grams' appears twice" in answer.json["detail"]
    assert names() == []


def test_a_body_with_a_byte_order_mark_is_read(client: FlaskClient, token: Headers) -> None:
    headers = token("things:write") | {"Content-Type": "application/json"}
    body = b"\xef\xbb\xbf" + json.dumps(THING).encode()

    assert client.post(f"{V1}/things", data=body, headers=headers).status_code == 201


def test_a_body_with_a_hundred_thousand_flaws_is_answered_with_the_first_hundred(
    client: FlaskClient, token: Headers
) -> None:
    answer = add(client, token("things:write"), **{f"{n:06}" * 3: 1 for n in range(40_000)})

    assert answer.status_code == 422
    assert len(answer.json["errors"]) == MOST_ERRORS
    assert "Only the first errors are listed" in answer.json["detail"]


def test_a_long_key_is_shown_in_short(client: FlaskClient, token: Headers) -> None:
    answer = add(client, token("things:write"), **{"k" * 900_000: 1})

    assert (answer.status_code, len(answer.data) < 1000) == (422, True)


def test_a_request_that_is_refused_for_its_body_waits_for_no_other_writer(
    client: FlaskClient, token: Headers, database: Database
) -> None:
    with database.sessions.begin() as session:
        session.execute(
            sql("INSERT INTO things (id, name, grams, version) VALUES ('0', 'a', 1, 0)")
            if database.is_sqlite
            else sql("LOCK TABLE things")
        )
        begun = monotonic()
        answer = add(client, token("things:write"), grams=0)

    assert answer.status_code == 422
    assert monotonic() - begun < 1


def test_a_body_of_another_type_is_refused(client: FlaskClient, token: Headers) -> None:
    headers = token("things:write") | {"Content-Type": "text/plain"}

    answer = client.post(f"{V1}/things", data=json.dumps(THING), headers=headers)

    assert (answer.status_code, answer.json["type"]) == (415, "/problems/unsupported-body")


def test_a_body_over_the_limit_is_refused_with_the_limit(
    client: FlaskClient, token: Headers, settings: Settings
) -> None:
    answer = add(client, token("things:write"), name="x" * 2_000_000)

    assert (answer.status_code, answer.json["type"]) == (413, "/problems/request-entity-too-large")
    assert f"limit of {settings.max_body_bytes} bytes" in answer.json["detail"]


@pytest.mark.parametrize(("over", "status"), [(0, 201), (1, 413), (1_000_000, 413)])
def test_a_body_in_chunks_over_the_limit_is_refused_and_not_cut(
    client: FlaskClient,
    token: Headers,
    settings: Settings,
    names: Callable[[], list[str]],
    over: int,
    status: int,
) -> None:
    whole = json.dumps(THING).encode()
    body = whole + b" " * (settings.max_body_bytes - len(whole) + over)

    answer = client.post(
        f"{V1}/things",
        input_stream=io.BytesIO(body),
        headers=token("things:write") | {"Content-Type": "application/json"},
        environ_overrides={"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"},
    )

    assert answer.status_code == status
    assert len(names()) == (status == 201)


def test_an_unknown_word_in_a_query_is_refused(client: FlaskClient, token: Headers) -> None:
    answer = client.get(f"{V1}/things?colour=red", headers=token("things:read"))

    assert answer.status_code == 422
    assert answer.json["errors"] == {"colour": ["Unknown field."]}


def test_a_word_that_comes_twice_in_a_query_is_refused(client: FlaskClient, token: Headers) -> None:
    answer = client.get(
        f"{V1}/things?heavier_than=900&heavier_than=0", headers=token("things:read")
    )

    assert answer.status_code == 422
    assert answer.json["errors"] == {"heavier_than": ["Appears twice; send it once."]}


def test_a_list_in_a_query_may_have_several_words(client: FlaskClient, token: Headers) -> None:
    trace = f"{V1}/trace/{UUID(int=1)}?subject=lot/1&subject=lot/2"

    assert client.get(trace, headers=token("operate")).status_code == 200


def test_a_path_nobody_knows_is_a_problem(client: FlaskClient) -> None:
    answer = client.get(f"{V1}/nothing")

    assert (answer.status_code, answer.json["type"]) == (404, "/problems/not-found")


def test_a_path_with_a_nul_character_reaches_no_database(client: FlaskClient) -> None:
    answer = client.get(f"{V1}/words/a%00b")

    assert (answer.status_code, answer.json["type"]) == (404, "/problems/unknown-address")


def test_a_wrong_method_names_the_right_ones(client: FlaskClient) -> None:
    answer = client.delete(f"{V1}/things")

    assert (answer.status_code, answer.json["type"]) == (405, "/problems/method-not-allowed")
    assert set(answer.headers["Allow"].split(", ")) >= {"GET", "POST"}


def test_an_answer_made_by_abort_is_a_problem(client: FlaskClient, token: Headers) -> None:
    answer = add(client, token("things:write"), name="aborted")

    assert (answer.status_code, answer.json["type"]) == (410, "/problems/gone")


def test_a_fault_of_ours_shows_the_request_id_and_nothing_else(
    client: FlaskClient, token: Headers, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    answer = add(client, token("things:write") | {"X-Request-Id": "story-7"}, name="broken")

    assert (answer.status_code, answer.json["type"]) == (500, "/problems/internal")
    assert answer.json["request_id"] == "story-7"
    assert "fault" not in answer.text
    (failed,) = [line for line in lines() if line["event"] == "request failed"]
    assert failed["correlation_id"] == "story-7"
    assert "RuntimeError: a fault with the phone [hidden]" in failed["exception"]


def test_a_database_that_is_away_is_said_to_be_away(
    app: Flask, token: Headers, tmp_path: Any, database: Database
) -> None:
    state = app.extensions["farmgate"]
    state.database.close()
    nowhere = (
        f"sqlite:///{tmp_path}/no/such/folder.db"
        if database.is_sqlite
        else "postgresql+psycopg://farmgate@127.0.0.1:1/none"
    )
    state.database = Database(nowhere)

    answers = [
        add(app.test_client(), token("things:write")),
        app.test_client().get(f"{V1}/things", headers=token("things:read")),
    ]

    for answer in answers:
        assert (answer.status_code, answer.json["type"]) == (503, "/problems/unavailable")
        assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    "settings", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True
)
def test_a_slow_query_is_cut(settings: Settings, app: Flask) -> None:
    state = app.extensions["farmgate"]
    state.database.close()
    state.database = Database(settings.database_url, statement_seconds=1)

    answer = app.test_client().get(f"{V1}/slow")

    assert (answer.status_code, answer.json["type"]) == (503, "/problems/unavailable")


@pytest.mark.parametrize("given", ["", "two words", "x" * 101, "a\nb", "<script>", "王"], ids=repr)
def test_a_request_id_that_could_do_harm_is_replaced(client: FlaskClient, given: str) -> None:
    environ = {"HTTP_X_REQUEST_ID": given.encode().decode("latin-1")}

    answer = client.get(f"{V1}/caller", environ_overrides=environ)

    assert answer.headers["X-Request-Id"] not in ("", given)


def test_request_id_and_trace_reach_the_event(
    client: FlaskClient, token: Headers, database: Database
) -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = token("things:write") | {"X-Request-Id": "story-7", "traceparent": traceparent}

    answer = add(client, headers)

    assert answer.headers["X-Request-Id"] == "story-7"
    with database.readers() as session:
        event = session.scalars(select(Outbox)).one()
    assert (event.correlation_id, event.traceparent) == ("story-7", traceparent)


@pytest.mark.parametrize("traceparent", ["", "00-0-0-00", f"00-{'0' * 32}-{'1' * 16}-00"])
def test_a_broken_trace_is_replaced_by_a_new_one(
    client: FlaskClient, token: Headers, database: Database, traceparent: str
) -> None:
    add(client, token("things:write") | {"traceparent": traceparent})

    with database.readers() as session:
        recorded = session.scalars(select(Outbox.traceparent)).one()
    assert recorded is not None
    assert recorded != traceparent
    assert len(recorded) == 55


def test_one_request_s_cause_does_not_leak_into_the_next(
    client: FlaskClient, token: Headers, database: Database
) -> None:
    for _ in range(2):
        add(client, token("things:write"))

    with database.readers() as session:
        assert len(set(session.scalars(select(Outbox.correlation_id)))) == 2


@pytest.mark.parametrize("path", [f"{V1}/caller", "/nothing", "/health/live"])
def test_every_answer_is_neither_page_nor_script_and_is_not_kept(
    client: FlaskClient, path: str
) -> None:
    headers = client.get(path).headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == "no-store"


def test_the_log_shows_a_route_and_never_its_path(
    client: FlaskClient, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    client.get(f"{V1}/words/secret-of-a-guest?phone=13912345678")

    logged = lines()
    (line,) = [line for line in logged if line["event"] == "request"]
    assert line["route"] == f"{V1}/words/<string:word>"
    assert "secret-of-a-guest" not in str(logged)
    assert "13912345678" not in str(logged)


def test_an_unhandled_view_s_error_message_hides_what_was_stored(
    client: FlaskClient,
    database: Database,
    lines: Callable[[], list[dict[str, Any]]],
    token: Headers,
) -> None:
    with database.sessions.begin() as session:
        session.connection().exec_driver_sql("DROP TABLE things")

    answer = add(client, token("things:write"), name="Tashi of Bahe")

    assert answer.status_code == 500
    assert "Tashi" not in str(lines())


def test_the_document_tells_what_the_code_does(client: FlaskClient) -> None:
    document = client.get("/api/things/openapi.json").json

    assert document["openapi"] == "3.1.0"
    operation = document["paths"][f"{V1}/things"]["post"]
    assert operation["summary"] == "Add a thing."
    assert operation["security"] == [{"bearer": ["things:write"]}]
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    (key,) = operation["parameters"]
    assert (key["name"], key["in"], key["required"]) == ("Idempotency-Key", "header", True)
    problem = document["components"]["responses"]["CONFLICT"]["content"]
    assert list(problem) == ["application/problem+json"]
    assert document["paths"][f"{V1}/caller"]["get"]["security"] == []
    grams = document["components"]["schemas"]["AddThingRequest"]["properties"]["grams"]
    assert (grams["minimum"], grams["maximum"]) == (1, 2**63 - 1)
    assert document["components"]["schemas"]["AddThingRequest"]["additionalProperties"] is False


def test_the_docs_page_needs_nothing_from_outside(client: FlaskClient) -> None:
    page = client.get("/api/things/docs")

    assert page.status_code == 200
    assert "'unsafe-inline'" not in page.headers["Content-Security-Policy"].split(";")[1]
    assert "http" not in page.text.replace("https://json-schema.org", "")
    for name in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js", "favicon-32x32.png"):
        assert f"/api/things/docs/{name}" in page.text
        with client.get(f"/api/things/docs/{name}") as answer:
            assert answer.status_code == 200
    assert client.get("/api/things/docs/..%2fapp.py").status_code == 404


def test_a_schema_bounds_every_whole_number_it_reads() -> None:
    class Request(RequestSchema):
        numbers = fields.List(fields.Integer())

    assert set(Request().validate({"numbers": [1, 2**63]})["numbers"]) == {1}


def test_a_list_or_an_object_of_too_many_parts_is_refused_before_a_part_is_read() -> None:
    read = []

    class Part(fields.String):
        def _deserialize(self, value: Any, *rest: Any, **options: Any) -> Any:
            read.append(value)
            return super()._deserialize(value, *rest, **options)

    class Request(RequestSchema):
        parts = fields.List(Part(), validate=Length(max=2))
        named = fields.Dict(fields.String(), Part(), validate=Length(max=2))

    few = {"parts": ["a", "b"], "named": {"a": "c"}}
    assert Request().load(few) == few
    assert read == ["a", "b", "c"]
    many = {"parts": ["d"] * 3, "named": dict.fromkeys("abc", "d")}
    assert set(Request().validate(many)) == {"parts", "named"}
    unknown = {f"{number}": 1 for number in range(50_000)}
    assert len(Request().validate(unknown | {"parts": ["d"]})) == MOST_UNKNOWN + 1
    assert "d" not in read


def test_moments_in_a_problem_are_written_as_everywhere(app: Flask) -> None:
    moment = clock.now()

    with app.test_request_context():
        answer = problems.problem(409, "too-late", "Too late.", at=moment, on=moment.date())

    assert answer.get_json()["at"] == clock.rfc3339(moment)
    assert answer.get_json()["on"] == moment.date().isoformat()


def test_a_member_cannot_replace_what_every_problem_has(app: Flask) -> None:
    with app.test_request_context():
        answer = problems.problem(409, "too-late", "Too late.", title="mine", mine=1)

    assert (answer.get_json()["title"], answer.get_json()["mine"]) == ("Too late", 1)


def test_two_services_live_in_one_process() -> None:
    blueprints = [Blueprint(name, __name__, url_prefix=f"/api/{name}/v1") for name in "ab"]
    for blueprint in blueprints:

        @blueprint.get("/name")
        @public
        @blueprint.response(200)
        def name(blueprint: Blueprint = blueprint) -> dict[str, str]:
            """Say the name."""
            return {"name": web.settings().service}

    apps = [
        web.create_app(name, name, [blueprint], Settings.from_environment(name, {}))
        for name, blueprint in zip("ab", blueprints, strict=True)
    ]

    answers = [
        app.test_client().get(f"/api/{name}/v1/name").json
        for name, app in zip("ab", apps, strict=True)
    ]

    assert answers == [{"name": "a"}, {"name": "b"}]


@pytest.mark.parametrize("path", ["/api/things//v1/words/one", "//evil.example/..//api"])
def test_no_answer_repeats_the_host_that_a_client_named(client: FlaskClient, path: str) -> None:
    answer = client.get(path, headers={"Host": "evil.example"})

    assert urlsplit(answer.headers.get("Location", "")).netloc == ""
    assert b"evil.example" not in answer.data


def test_a_redirection_names_the_path_only(client: FlaskClient) -> None:
    answer = client.get("/api/things//v1/words/one?a=b", headers={"Host": "evil.example"})

    assert (answer.status_code, answer.headers["Location"]) == (
        308,
        "/api/things/v1/words/one?a=b",
    )
