"""A client may repeat any POST: it is done once, and answered the same each time.

Source: IETF draft-ietf-httpapi-idempotency-key-header-07; Stripe's promises (errors of a use
case are kept too, validation failures are not).
"""

import json
import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from flask import Flask
from flask.testing import FlaskClient
from marshmallow import ValidationError
from sqlalchemy import func, select

from shared.messaging import timers
from shared.messaging.tables import Outbox
from shared.runtime import clock
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.schemas import RequestSchema
from shared.runtime.sealing import seal, unseal
from shared.runtime.tables import IdempotencyKey
from shared.web import idempotency
from tests.support.together import deadlock_once

Headers = Callable[..., dict[str, str]]
THINGS = "/api/things/v1/things"
THING = {"name": "stone", "grams": 5}
ONLY_POSTGRESQL = pytest.mark.parametrize(
    "settings", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True
)


def kept(database: Database) -> int:
    with database.readers() as session:
        return session.scalar(select(func.count()).select_from(IdempotencyKey)) or 0


def test_a_repeated_request_is_answered_the_same_and_done_once(
    client: FlaskClient, token: Headers, names: Callable[[], list[str]], database: Database
) -> None:
    headers = token("things:write")

    first, second = (client.post(THINGS, json=THING, headers=headers) for _ in range(2))

    assert (first.status_code, second.status_code) == (201, 201)
    assert (first.data, first.headers["Location"]) == (second.data, second.headers["Location"])
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert first.headers["X-Request-Id"] != second.headers["X-Request-Id"]
    assert names() == ["stone"]
    with database.readers() as session:
        assert session.scalar(select(func.count()).select_from(Outbox)) == 1


@pytest.mark.parametrize(
    "key",
    ["", '"', '""', "two words", '"half', 'half"', 'a"b', "x" * 256, '"a\\b"', "王"],
    ids=lambda key: repr(key)[:12],
)
def test_a_request_without_a_usable_key_is_refused(
    client: FlaskClient, token: Headers, names: Callable[[], list[str]], key: str
) -> None:
    environ = {"HTTP_IDEMPOTENCY_KEY": key.encode().decode("latin-1")}
    headers = {"Authorization": token("things:write")["Authorization"]}

    answer = client.post(THINGS, json=THING, headers=headers, environ_overrides=environ)

    assert (answer.status_code, answer.json["type"]) == (400, "/problems/idempotency-key-missing")
    assert names() == []


def test_a_quoted_key_and_a_bare_one_are_the_same(
    client: FlaskClient, token: Headers, names: Callable[[], list[str]]
) -> None:
    headers = token("things:write")

    for key in ("k-1", '"k-1"'):
        client.post(THINGS, json=THING, headers=headers | {"Idempotency-Key": key})

    assert names() == ["stone"]


def test_a_key_with_another_body_is_refused(
    client: FlaskClient, token: Headers, names: Callable[[], list[str]]
) -> None:
    headers = token("things:write")
    client.post(THINGS, json=THING, headers=headers)

    answer = client.post(THINGS, json=THING | {"grams": 6}, headers=headers)

    assert (answer.status_code, answer.json["type"]) == (422, "/problems/idempotency-key-reused")
    assert names() == ["stone"]


def test_a_key_with_another_path_is_refused(client: FlaskClient, token: Headers) -> None:
    headers = {"Idempotency-Key": token()["Idempotency-Key"]}
    client.post("/api/things/v1/kept/200", headers=headers)

    assert client.post("/api/things/v1/kept/201", headers=headers).status_code == 422


def test_two_clients_may_use_the_same_key(
    client: FlaskClient, token: Headers, names: Callable[[], list[str]]
) -> None:
    for subject in ("dolma", "tashi"):
        headers = token("things:write", subject=subject) | {"Idempotency-Key": "1"}
        assert client.post(THINGS, json=THING, headers=headers).status_code == 201

    assert names() == ["stone", "stone"]


def test_a_refusal_by_the_use_case_is_kept_and_leaves_nothing_behind(
    client: FlaskClient,
    token: Headers,
    names: Callable[[], list[str]],
    door: Any,
) -> None:
    headers = token("things:write")

    answers = [client.post(THINGS, json=THING | {"grams": 5000}, headers=headers) for _ in "12"]

    assert [answer.status_code for answer in answers] == [409, 409]
    assert answers[0].data == answers[1].data
    assert answers[1].content_type == "application/problem+json"
    assert answers[1].headers["Idempotency-Replayed"] == "true"
    assert door.entered == 1
    assert names() == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "stone"}, 422),
        ({"name": "broken", "grams": 5}, 500),
        ({"name": "unavailable", "grams": 5}, 503),
        ({"name": "aborted", "grams": 5}, 410),
    ],
)
def test_what_may_be_mended_is_not_kept(
    client: FlaskClient,
    token: Headers,
    names: Callable[[], list[str]],
    database: Database,
    body: dict[str, Any],
    status: int,
) -> None:
    headers = token("things:write")

    assert client.post(THINGS, json=body, headers=headers).status_code == status

    assert (kept(database), names()) == (0, [])
    assert client.post(THINGS, json=THING, headers=headers).status_code == 201


def test_a_request_that_would_be_refused_today_is_answered_as_it_was(
    client: FlaskClient,
    token: Headers,
    names: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An upgrade may bring stricter fields; a client that heard nothing still repeats."""
    headers = token("things:write")
    first = client.post(THINGS, json=THING, headers=headers)

    def stricter(*_: Any, **__: Any) -> Any:
        raise ValidationError("No longer.")

    monkeypatch.setattr(RequestSchema, "load", stricter)
    again = client.post(THINGS, json=THING, headers=headers)
    other = client.post(THINGS, json=THING | {"grams": 6}, headers=headers)
    new = client.post(THINGS, json=THING, headers=token("things:write"))

    assert (again.data, again.headers["Idempotency-Replayed"]) == (first.data, "true")
    assert other.json["type"] == "/problems/idempotency-key-reused"
    assert new.json["type"] == "/problems/validation-failed"
    assert names() == ["stone"]


def test_a_missing_scope_uses_up_no_key(
    client: FlaskClient, token: Headers, database: Database
) -> None:
    headers = token("things:read")

    assert client.post(THINGS, json=THING, headers=headers).status_code == 403
    assert kept(database) == 0


def test_an_answer_of_500_made_by_the_route_undoes_its_work(
    client: FlaskClient, names: Callable[[], list[str]], database: Database
) -> None:
    answer = client.post("/api/things/v1/kept/500", headers={"Idempotency-Key": "1"})

    assert answer.status_code == 500
    assert (kept(database), names()) == (0, [])


def test_an_error_that_the_route_catches_still_undoes_its_transaction(
    client: FlaskClient, names: Callable[[], list[str]], database: Database
) -> None:
    answer = client.post("/api/things/v1/caught", headers={"Idempotency-Key": "1"})

    assert answer.status_code == 200
    assert (kept(database), names()) == (1, [])


def test_a_repeat_while_the_first_is_running_is_told_so(
    app: Flask, token: Headers, door: Any, names: Callable[[], list[str]]
) -> None:
    headers, answers = token("things:write"), []

    def first() -> None:
        answers.append(
            app.test_client().post(THINGS, json={"name": "hold", "grams": 1}, headers=headers)
        )

    thread = threading.Thread(target=first)
    thread.start()
    assert door.inside.wait(10)
    second = app.test_client().post(THINGS, json={"name": "hold", "grams": 1}, headers=headers)
    door.opened.set()
    thread.join()

    assert (second.status_code, second.json["type"]) == (409, "/problems/request-in-progress")
    assert answers[0].status_code == 201
    assert names() == ["hold"]
    third = app.test_client().post(THINGS, json={"name": "hold", "grams": 1}, headers=headers)
    assert third.headers["Idempotency-Replayed"] == "true"


@ONLY_POSTGRESQL
def test_a_repeat_at_another_process_is_told_to_wait(
    client: FlaskClient, token: Headers, settings: Settings, names: Callable[[], list[str]]
) -> None:
    headers = token("things:write", subject="dolma") | {"Idempotency-Key": "1"}
    elsewhere = Database(settings.database_url)
    with elsewhere.sessions.begin() as session:
        assert idempotency.claim(session, idempotency.Request("dolma", "1", "…")) is None

        answer = client.post(THINGS, json=THING, headers=headers)

    elsewhere.close()
    assert (answer.status_code, answer.json["type"]) == (409, "/problems/request-in-progress")
    assert names() == []


def test_of_many_equal_requests_at_once_one_is_done(
    app: Flask,
    token: Headers,
    names: Callable[[], list[str]],
    database: Database,
    in_threads: Callable[..., list[Any]],
) -> None:
    headers = token("things:write")

    answers = in_threads([lambda: app.test_client().post(THINGS, json=THING, headers=headers)] * 12)

    counted = Counter(answer.status_code for answer in answers)
    assert set(counted) <= {201, 409}
    assert counted[201] >= 1
    assert names() == ["stone"]
    assert len({answer.data for answer in answers if answer.status_code == 201}) == 1
    assert kept(database) == 1


def test_of_many_equal_requests_at_several_processes_one_is_done(
    another_app: Callable[[], Flask],
    database: Database,
    token: Headers,
    names: Callable[[], list[str]],
    in_threads: Callable[..., list[Any]],
) -> None:
    """Several applications on one database share no memory, as processes do not."""
    headers = token("things:write")
    apps = [another_app() for _ in range(8)]

    answers = in_threads(
        [
            lambda app=app: app.test_client().post(THINGS, json=THING, headers=headers)
            for app in apps
        ]
    )

    assert {answer.status_code for answer in answers} <= {201, 409}
    assert names() == ["stone"]
    assert kept(database) == 1


@ONLY_POSTGRESQL
def test_an_answer_stored_meanwhile_is_the_one_that_counts(
    client: FlaskClient,
    token: Headers,
    settings: Settings,
    names: Callable[[], list[str]],
    door: Any,
) -> None:
    headers = token("things:write", subject="dolma") | {"Idempotency-Key": "1"}
    body = json.dumps(THING).encode()
    asked = idempotency.Request("dolma", "1", idempotency.fingerprint_of("POST", THINGS, b"", body))

    def elsewhere() -> None:
        other = Database(settings.database_url)
        with other.sessions.begin() as session:
            plain = b'{"Content-Type": "text/plain"}\ntheirs'
            answer = idempotency.Answer(201, seal(asked.sealing_key, plain))
            idempotency.store_all(session, [(asked, answer)])
        other.close()

    door.meanwhile = elsewhere
    answer = client.post(THINGS, data=body, headers=headers | {"Content-Type": "application/json"})

    assert (answer.status_code, answer.text) == (201, "theirs")
    assert answer.headers["Idempotency-Replayed"] == "true"
    assert names() == []


@ONLY_POSTGRESQL
def test_a_deadlock_is_tried_again(
    app: Flask, token: Headers, database: Database, names: Callable[[], list[str]], door: Any
) -> None:
    deadlock_once(database)

    answer = app.test_client().post(THINGS, json=THING, headers=token("things:write"))

    assert answer.status_code == 201
    assert (door.entered, names()) == (2, ["stone"])


def test_answers_are_forgotten_after_a_day(
    client: FlaskClient, token: Headers, names: Callable[[], list[str]], database: Database
) -> None:
    headers = token("things:write")
    client.post(THINGS, json=THING, headers=headers)

    with database.sessions.begin() as session:
        young = timers.prune_answers(session, clock.now() - timers.ANSWERS_KEPT)
        old = timers.prune_answers(session, clock.now() + timedelta(seconds=1))

    assert (young, old) == (0, 1)
    assert client.post(THINGS, json=THING, headers=headers).status_code == 201
    assert names() == ["stone", "stone"]


def test_requests_that_differ_only_in_where_a_part_ends_differ() -> None:
    one = idempotency.fingerprint_of("POST", "/a", b"b", b"c")
    two = idempotency.fingerprint_of("POST", "/a", b"", b"bc")

    assert one != two
    assert len(one) == 64


def test_what_is_stored_of_an_answer_tells_neither_the_answer_nor_its_key(
    client: FlaskClient, token: Headers, database: Database
) -> None:
    headers, body = token("things:write"), json.dumps(THING | {"name": "planted"}).encode()
    answer = client.post(THINGS, data=body, content_type="application/json", headers=headers)
    assert answer.status_code == 201

    with database.readers() as session:
        row = session.execute(select(IdempotencyKey.__table__)).one()

    stored = repr(row._asdict()) + row.body.decode("latin-1")
    fingerprint = idempotency.fingerprint_of("POST", THINGS, b"", body)
    for secret in ("planted", answer.headers["Location"], headers["Idempotency-Key"], fingerprint):
        assert secret not in stored


def test_an_answer_opens_only_with_the_key_and_the_request_that_made_it(
    client: FlaskClient, token: Headers, database: Database
) -> None:
    headers = token("things:write", subject="dolma") | {"Idempotency-Key": "1"}
    body = json.dumps(THING).encode()
    answer = client.post(THINGS, data=body, content_type="application/json", headers=headers)
    with database.readers() as session:
        sealed = session.scalars(select(IdempotencyKey.body)).one()
    fingerprint = idempotency.fingerprint_of("POST", THINGS, b"", body)
    right = idempotency.Request("dolma", "1", fingerprint)
    wrong = [
        idempotency.Request("dolma", "2", fingerprint),
        idempotency.Request("dolma", "1", "0" * 64),
    ]

    assert unseal(right.sealing_key, sealed).endswith(answer.data)
    for other in wrong:
        with pytest.raises(InvalidTag):
            unseal(other.sealing_key, sealed)
