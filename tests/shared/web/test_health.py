"""A service says whether it is alive, whether it is ready, and what it has counted."""

import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from shared.events import OrderPaid
from shared.messaging import parked
from shared.messaging.envelope import decode, encode, fact_of
from shared.runtime import clock, metrics
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.ids import new_id
from shared.web.health import Health

Headers = Callable[..., dict[str, str]]
THINGS = "/api/things/v1/things"


def park(database: Database, state: str) -> None:
    body = encode(
        fact_of(
            OrderPaid,
            {"order_id": new_id(), "order_ref": "ORD-1", "amount_fen": 1, "method": "prepaid"},
        ),
        event_id=new_id(),
        sequence=1,
        time=clock.now(),
        correlation_id="c",
        causation_id=None,
        traceparent=None,
    )
    with database.sessions.begin() as session:
        parked.park(session, decode(body), "handler_failed", "why", state)


@pytest.mark.parametrize("prefix", ["", "/api/things"])
def test_a_service_that_works_is_alive_and_ready(client: FlaskClient, prefix: str) -> None:
    assert client.get(f"{prefix}/health/live").json == {"service": "things", "status": "live"}
    ready = client.get(f"{prefix}/health/ready")
    assert ready.status_code == 200
    assert ready.json == {
        "service": "things",
        "status": "ready",
        "database": "ok",
        "broker": "embedded",
        "oldest_unpublished_seconds": 0.0,
        "parked": {},
    }


def test_without_its_database_a_service_is_alive_but_not_ready(
    app: Flask, settings: Settings, database: Database, tmp_path: Path
) -> None:
    nowhere = (
        f"sqlite:///{tmp_path}/no/such/folder.db"
        if database.is_sqlite
        else "postgresql+psycopg://farmgate@127.0.0.1:1/none"
    )
    app.extensions["farmgate"].health = Health(settings, Database(nowhere))

    ready = app.test_client().get("/health/ready")

    assert (ready.status_code, ready.json["status"]) == (503, "not ready")
    assert ready.json["database"] == "away"
    assert app.test_client().get("/health/live").status_code == 200
    assert app.test_client().get("/metrics").status_code == 200


def test_readiness_tells_how_late_events_are_and_what_is_parked(
    client: FlaskClient, token: Headers, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.post(THINGS, json={"name": "stone", "grams": 1}, headers=token("things:write"))
    for state in ("waiting", "waiting", "dead"):
        park(database, state)
    now = clock.now()
    monkeypatch.setattr("shared.web.health.now", lambda: now + timedelta(seconds=90))

    report = client.get("/health/ready").json

    assert 89 < report["oldest_unpublished_seconds"] < 91
    assert report["parked"] == {"waiting": 2, "dead": 1}
    scraped = client.get("/metrics").text
    assert 'farmgate_parked_events{service="things",state="waiting"} 2.0' in scraped
    assert 'farmgate_parked_events{service="things",state="behind"} 0.0' in scraped
    assert 'farmgate_oldest_unpublished_seconds{service="things"} 9' in scraped


def test_a_service_takes_orders_while_the_broker_is_away_and_says_so(
    settings: Settings, database: Database
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"amqp://user:word@127.0.0.1:{listening.getsockname()[1]}/%2F"
        health = Health(replace(settings, broker_url=url), database)
        there, ready_then = health.ready()
    remembered, _ = health.ready()
    away, ready_still = Health(replace(settings, broker_url=url), database).ready()

    assert (there["broker"], ready_then) == ("ok", True)
    assert remembered["broker"] == "ok"
    assert (away["broker"], ready_still) == ("away", True)
    assert "word" not in str(away)


def test_requests_are_counted_by_route_and_never_by_path(client: FlaskClient) -> None:
    for word in ("one", "two"):
        client.get(f"/api/things/v1/words/{word}")
    client.get("/nothing/at/all")

    scraped = client.get("/api/things/metrics").text

    route = "/api/things/v1/words/<string:word>"
    assert f'method="GET",route="{route}",service="things",status="200"' in scraped
    assert 'route="(none)",service="things",status="404"' in scraped
    assert "words/one" not in scraped
    assert "nothing/at/all" not in scraped


def test_events_are_counted_by_what_became_of_them() -> None:
    metrics.count_events("counted", Counter(handled=3, parked=1))
    metrics.count_events("counted", {"handled": 2})

    scraped = metrics.expose().decode()

    assert 'farmgate_events_total{outcome="handled",service="counted"} 5.0' in scraped
    assert 'farmgate_events_total{outcome="parked",service="counted"} 1.0' in scraped


def test_a_process_without_http_can_be_scraped() -> None:
    import urllib.request

    with socket.create_server(("127.0.0.1", 0)) as free:
        port: Any = free.getsockname()[1]
    server, thread = metrics.serve(port, "127.0.0.1")

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        scraped = answer.read()

    server.shutdown()
    server.server_close()
    thread.join()
    assert b"farmgate_events" in scraped
