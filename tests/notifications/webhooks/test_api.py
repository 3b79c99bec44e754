"""Endpoints over HTTP: each partner its own, operators all, and every action is recorded."""

from typing import Any

import pytest

from services.notifications.push import signing
from shared.runtime.ids import new_id
from tests.support import UNKNOWN_ID

V1 = "/api/events/v1"
URL = "https://shop.example/farmgate"


@pytest.fixture
def partner(client, token, world):
    """Return the headers of a subscribed partner's token."""

    def headers(name: str = "acme", **more: str) -> dict[str, str]:
        if name != "acme":
            world.subscribe(name)
        return token("events:read", "events:manage", subject=name)

    return headers


@pytest.fixture
def post(client):
    """Send a POST with a key of its own."""

    def send(path: str, headers: dict[str, str], body: Any = None, key: str | None = None) -> Any:
        keyed = headers | {"Idempotency-Key": key or str(new_id())}
        return client.post(f"{V1}{path}", headers=keyed, json=body)

    return send


def test_a_new_endpoint_has_its_secret_and_is_shown_without(client, partner, post, app_settings):
    headers = partner()

    answer = post("/endpoints", headers, {"url": URL, "types": ["orders.*"]})

    assert answer.status_code == 201, answer.json
    made = answer.json
    assert (made["partner"], made["status"], made["position"]) == ("acme", "active", 0)
    shown = client.get(f"{V1}/endpoints/{made['endpoint_id']}", headers=headers)
    assert shown.json == {k: v for k, v in made.items() if k != "secret"}
    secret = client.get(f"{V1}/endpoints/{made['endpoint_id']}/secret", headers=headers).json
    assert secret["secret"] == made["secret"]
    assert made["secret"].startswith("whsec_")
    with pytest.raises(KeyError):
        _ = client.get(f"{V1}/endpoints", headers=headers).json["items"][0]["secret"]


def test_a_repeated_request_makes_one_endpoint(client, partner, post):
    headers, key = partner(), str(new_id())

    first, second = (post("/endpoints", headers, {"url": URL}, key) for _ in range(2))

    assert first.json == second.json
    assert len(client.get(f"{V1}/endpoints", headers=headers).json["items"]) == 1


ROUTES = [
    ("get", ""),
    ("patch", ""),
    ("delete", ""),
    ("post", "/suspend"),
    ("post", "/resume"),
    ("get", "/secret"),
    ("post", "/secret/rotate"),
    ("post", "/ping"),
    ("get", "/deliveries"),
    ("get", f"/deliveries/{UNKNOWN_ID}"),
    ("post", f"/deliveries/{UNKNOWN_ID}/resend"),
    ("post", "/resend"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_anothers_endpoint_does_not_exist(client, partner, post, method, path):
    endpoint_id = post("/endpoints", partner(), {"url": URL}).json["endpoint_id"]
    stranger = partner("other") | {"Idempotency-Key": str(new_id())}
    body = {"since": "2026-01-01T00:00:00Z"} if path == "/resend" else {}

    answer = client.open(
        f"{V1}/endpoints/{endpoint_id}{path}", method=method.upper(), headers=stranger, json=body
    )

    assert (answer.status_code, answer.json["type"]) == (404, "/problems/endpoint-not-found")
    assert client.get(f"{V1}/endpoints", headers=stranger).json["items"] == []


def test_operators_see_and_change_everybodys(client, partner, post, token):
    one = post("/endpoints", partner(), {"url": URL}).json["endpoint_id"]
    post("/endpoints", partner("other"), {"url": URL})
    operator = token("events:read", "events:manage", "events:operate", subject="operator")

    listed = client.get(f"{V1}/endpoints", headers=operator).json["items"]
    only = client.get(f"{V1}/endpoints?partner=acme", headers=operator).json["items"]
    suspended = post(f"/endpoints/{one}/suspend", operator)
    made = post("/endpoints", operator, {"url": URL, "partner": "other"})

    assert len(listed) == 2 and [each["endpoint_id"] for each in only] == [one]
    assert (suspended.json["status"], suspended.json["reason"]) == ("suspended", "asked")
    assert made.json["partner"] == "other"


def test_a_partner_makes_no_endpoint_for_another(partner, post):
    partner("other")
    answer = post("/endpoints", partner(), {"url": URL, "partner": "other"})

    assert answer.status_code == 403


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example/",
        "https://",
        "ftp://shop.example/",
        "https://user:password@shop.example/",
        "https://shop.example/#part",
        "https://shop.example:99999/",
        "https://松茸.example/",
        "https://shop.example/a b",
        "/relative",
    ],
)
def test_a_url_that_no_webhook_goes_to_is_refused(client, partner, post, url):
    headers = partner()
    answer = post("/endpoints", headers, {"url": url})

    assert answer.status_code == 422
    assert client.get(f"{V1}/endpoints", headers=headers).json["items"] == []


def test_an_unknown_event_type_is_refused(partner, post):
    answer = post("/endpoints", partner(), {"url": URL, "types": ["nothing.*"]})

    assert (answer.status_code, answer.json["type"]) == (422, "/problems/unknown-types")


def test_without_a_subscription_there_is_no_endpoint(token, post):
    headers = token("events:read", "events:manage", subject="nobody")

    answer = post("/endpoints", headers, {"url": URL})

    assert answer.json["type"] == "/problems/not-subscribed"


def test_a_rotated_secret_is_another_one_and_the_old_one_signs_for_a_while(partner, post):
    headers = partner()
    made = post("/endpoints", headers, {"url": URL}).json

    rotated = post(
        f"/endpoints/{made['endpoint_id']}/secret/rotate", headers, {"overlap_hours": 2}
    ).json

    assert rotated["secret"] != made["secret"]
    assert rotated["previous_secret_until"] is not None


def test_the_database_has_no_secret(partner, post, database, app_settings):
    made = post("/endpoints", partner(), {"url": URL}).json
    rows = []
    with database.readers() as session:
        from services.notifications.models import Base

        for table in Base.metadata.sorted_tables:
            rows += [str(tuple(row)) for row in session.execute(table.select())]

    assert not any(made["secret"] in row for row in rows)


def test_every_action_is_recorded_with_its_actor(client, partner, post, token):
    headers = partner()
    endpoint_id = post("/endpoints", headers, {"url": URL}).json["endpoint_id"]
    path = f"{V1}/endpoints/{endpoint_id}"
    client.patch(path, headers=headers, json={"description": "ERP"})
    post(f"/endpoints/{endpoint_id}/ping", headers)
    post(f"/endpoints/{endpoint_id}/suspend", headers)
    post(f"/endpoints/{endpoint_id}/resume", headers)
    post(f"/endpoints/{endpoint_id}/secret/rotate", headers, {})
    client.get(f"{path}/secret", headers=headers)
    post(f"/endpoints/{endpoint_id}/resend", headers, {"since": "2026-01-01T00:00:00Z"})
    operator = token("events:read", "events:manage", "events:operate", subject="operator")
    assert client.delete(path, headers=operator).status_code == 204

    found = client.get(f"{V1}/actions", headers=headers).json["items"]

    assert [(each["action"], each["actor"]) for each in reversed(found)] == [
        ("endpoint_created", "acme"),
        ("endpoint_changed", "acme"),
        ("endpoint_pinged", "acme"),
        ("endpoint_suspended", "acme"),
        ("endpoint_resumed", "acme"),
        ("endpoint_secret_rotated", "acme"),
        ("endpoint_secret_shown", "acme"),
        ("endpoint_range_resent", "acme"),
        ("endpoint_deleted", "operator"),
    ]
    assert client.get(path, headers=headers).status_code == 404


def test_a_delivery_is_shown_with_its_attempts_and_resent(
    client, world, partner, post, receive, sending
):
    receiver = receive()
    headers = partner()
    endpoint_id = str(world.endpoint("acme", receiver.url))
    world.events("acme", "order/1", "order/2")
    with sending() as sender:
        while len(receiver.requests) < 2:
            sender.go_on(1)
        sender.go_on()
        path = f"/endpoints/{endpoint_id}/deliveries"
        page = client.get(f"{V1}{path}?status=delivered", headers=headers).json
        newest = page["items"][0]
        again = post(f"{path}/{newest['delivery_id']}/resend", headers)
        while len(receiver.requests) < 3:
            sender.go_on(1)
        sender.go_on()

    assert [each["subject"] for each in page["items"]] == ["order/2", "order/1"]
    assert newest["tries"][0]["status"] == 200 and newest["next_try_at"] is None
    assert (again.status_code, again.json["status"]) == (202, "waiting")
    shown = client.get(f"{V1}{path}/{newest['delivery_id']}", headers=headers).json
    assert (shown["status"], len(shown["tries"])) == ("delivered", 2)


def test_a_partner_has_a_limit_of_endpoints(partner, post, monkeypatch):
    from services.notifications.use_cases.webhooks import endpoints

    monkeypatch.setattr(endpoints, "MOST_ENDPOINTS", 1)
    headers = partner()
    post("/endpoints", headers, {"url": URL})

    answer = post("/endpoints", headers, {"url": URL})

    assert (answer.status_code, answer.json["type"]) == (409, "/problems/too-many-endpoints")


def test_without_a_key_no_endpoint_is_made(partner, post, monkeypatch):
    monkeypatch.setattr(signing, "_content", lambda path: "short")

    answer = post("/endpoints", partner(), {"url": URL})

    assert (answer.status_code, answer.json["type"]) == (503, "/problems/webhooks-unavailable")
    assert "FARMGATE_WEBHOOK_KEY" in answer.json["detail"]
