"""`farmgate integrators endpoints`: webhook endpoints from the command line."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

from tests.farmgate.conftest import Stand

Farmgate = Callable[..., Result]

ID = "0198f3a0-0000-7000-8000-000000000001"
DELIVERY_ID = "0198f3a0-0000-7000-8000-000000000002"
ENDPOINT = {
    "endpoint_id": ID,
    "partner": "[/x]shop",
    "url": "https://shop.example/hook",
    "types": [],
    "description": None,
    "status": "active",
    "reason": None,
    "position": 12,
    "failing_since": None,
    "paused_until": None,
    "previous_secret_until": None,
    "created_at": "2026-11-30T02:00:00Z",
}
DELIVERY = {
    "delivery_id": DELIVERY_ID,
    "endpoint_id": ID,
    "position": 3,
    "event_id": ID,
    "type": "orders.order_paid.v1",
    "subject": "order/1",
    "status": "retrying",
    "attempts": 2,
    "tries": [{"at": "x", "status": 500, "reason": "http_500", "milliseconds": 41}],
    "next_try_at": "2026-11-30T03:00:00Z",
    "created_at": "2026-11-30T02:00:00Z",
    "finished_at": None,
}


@pytest.fixture
def run(farmgate: Farmgate, stand: Stand, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a subcommand against the stand."""
    monkeypatch.setenv("FARMGATE_URL", stand.url)
    monkeypatch.setenv("FARMGATE_TOKEN", "token")
    return lambda *arguments: farmgate("integrators", "endpoints", *arguments)


def sent(stand: Stand) -> tuple[str, str, Any]:
    request = stand.requests[-1]
    return request.method, request.path, json.loads(request.body or b"null")


def test_a_new_endpoint_is_shown_with_its_secret(run, stand: Stand) -> None:
    stand.answers = [(201, ENDPOINT | {"secret": "whsec_abc"})]

    shown = run("add", "https://shop.example/hook", "--partner", "shop", "--events", "orders.*")

    assert shown.exit_code == 0, shown.output
    assert "whsec_abc" in shown.output and "[/x]shop" in shown.output
    body = {"url": ENDPOINT["url"], "types": ["orders.*"], "description": None, "partner": "shop"}
    assert sent(stand) == ("POST", "/api/events/v1/endpoints", body)


def test_the_list_says_what_is_wrong(run, stand: Stand) -> None:
    failing = ENDPOINT | {"failing_since": "2026-11-30T02:00:00Z"}
    gone = ENDPOINT | {"status": "disabled", "reason": "gone"}
    stand.answers = [(200, {"items": [failing, gone], "next": None})] * 2

    shown, as_json = run("list"), run("list", "--json")

    assert "fails since" in shown.output.replace("\n", " ") and "disabled" in shown.output
    assert len(json.loads(as_json.stdout)) == 2


@pytest.mark.parametrize(
    ("arguments", "method", "path", "body"),
    [
        (("show", ID), "GET", "", None),
        (("change", ID, "--all-events"), "PATCH", "", {"types": []}),
        (("suspend", ID), "POST", "/suspend", {}),
        (("resume", ID), "POST", "/resume", {}),
    ],
)
def test_an_endpoint_is_shown_and_changed(run, stand, arguments, method, path, body) -> None:
    stand.answers = [(200, ENDPOINT)]

    assert run(*arguments).exit_code == 0
    assert sent(stand) == (method, f"/api/events/v1/endpoints/{ID}{path}", body)


def test_a_secret_is_shown_or_rotated(run, stand: Stand) -> None:
    until = {"endpoint_id": ID, "secret": "whsec_new", "previous_secret_until": "2026-12-01"}
    stand.answers = [(200, until | {"previous_secret_until": None}), (200, until)]

    assert run("secret", ID).output == "whsec_new\n"
    assert "2026-12-01" in run("secret", ID, "--rotate", "--overlap-hours", "1").output
    path = f"/api/events/v1/endpoints/{ID}/secret/rotate"
    assert sent(stand) == ("POST", path, {"overlap_hours": 1})
    assert run("secret", ID, "--overlap-hours", "1").exit_code == 2


def test_a_ping_waits_for_its_outcome_and_fails_if_it_was_not_taken(run, stand: Stand) -> None:
    waiting = DELIVERY | {"tries": [], "status": "waiting"}
    failed = DELIVERY | {"status": "failed", "finished_at": "2026-11-30T02:00:01Z"}
    stand.answers = [(202, waiting), (200, waiting), (200, failed)]

    shown = run("ping", ID)

    assert shown.exit_code == 1
    assert "http_500 in 41 ms" in shown.output


def test_the_log_shows_the_last_attempt_and_the_next(run, stand: Stand) -> None:
    stand.answers = [(200, {"items": [DELIVERY], "next": None})]

    shown = run("log", ID, "--status", "retrying")

    assert "http_500" in shown.output and "status=retrying" in stand.requests[0].path


def test_one_event_or_a_range_is_sent_again(run, stand: Stand) -> None:
    stand.answers = [(202, DELIVERY), (202, {"endpoint_id": ID, "after": 3, "until": 10})]

    assert run("resend", ID, "--delivery", DELIVERY_ID).exit_code == 0
    path = f"/api/events/v1/endpoints/{ID}"
    assert sent(stand) == ("POST", f"{path}/deliveries/{DELIVERY_ID}/resend", {})
    shown = run("resend", ID, "--since", "2026-08-20", "--before", "2026-08-21T00:00:00+0800")
    assert shown.output.startswith("7 events")
    body = {"since": "2026-08-20T00:00:00Z", "before": "2026-08-21T00:00:00+08:00"}
    assert sent(stand) == ("POST", f"{path}/resend", body)
    assert run("resend", ID).exit_code == 2


def test_an_endpoint_is_removed_after_a_question(run, stand: Stand) -> None:
    stand.answers = [(200, ENDPOINT), (200, None)]

    assert run("remove", ID, "--yes").exit_code == 0
    assert stand.requests[-1].method == "DELETE"
