"""What is logged can be shown to anybody."""

import io
import json
import logging
from collections.abc import Callable
from contextlib import redirect_stderr
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.runtime import logs, tracing

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def named() -> None:
    logs.configure("things")


def test_a_line_says_what_happened_where_and_because_of_what(lines: Lines) -> None:
    with tracing.caused_by(tracing.Cause("story", "event-1")):
        logs.get("shared.messaging.relay").info("relay active", state="open")

    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "relay active",
        "level": "info",
        "service": "things",
        "module": "shared.messaging.relay",
        "state": "open",
        "correlation_id": "story",
        "causation_id": "event-1",
    }


@pytest.mark.parametrize("field", ["name", "phone", "address", "body", "token", "password"])
def test_a_field_that_is_not_listed_is_hidden(lines: Lines, field: str) -> None:
    logs.get("x").info("something", **{field: "Tashi"})

    (line,) = lines()
    assert line[field] == logs.HIDDEN


@pytest.mark.parametrize(
    "text",
    [
        "13912345678",
        "+8613912345678",
        "+86 139 1234 5678",
        "139-1234-5678",
        "0894-5821234",
        "54260119900101123X",
        "6222021234567890123",
        "tashi@example.cn",
        "eyJhbGciOiJFZDI1NTE5In0.eyJzdWIiOiJ4In0.c2ln",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    ],
)
def test_what_looks_personal_or_secret_is_hidden_in_shown_text(lines: Lines, text: str) -> None:
    logs.get("x").info(f"called {text}", error=f"Key (phone)=({text}) exists")

    assert text not in json.dumps(lines())


def test_a_password_in_an_address_is_hidden(lines: Lines) -> None:
    logging.getLogger("kombu").warning("lost %s", "amqp://orders:s3cret@broker:5672/")

    (line,) = lines()
    assert line["event"] == f"lost amqp://{logs.HIDDEN}@broker:5672/"
    assert line["logger"] == "kombu"


def test_ids_moments_and_counts_stay_readable(lines: Lines) -> None:
    shown = {
        "event_id": "019ac1e8-1391-7234-8678-139123456789",
        "position": 13912345678,
        "subject": "order/019ac1e8-1234-7000-8000-139123456789",
        "reason": "ORD-7KQ2M9XH",
        "error": "at 2026-11-23T22:45:31.781679+00:00",
    }

    logs.get("x").info("something", **shown)

    (line,) = lines()
    assert {name: line[name] for name in shown} == shown


def test_an_exception_is_told_without_what_is_personal(lines: Lines) -> None:
    try:
        raise ValueError("no such phone: 13912345678")
    except ValueError:
        logs.get("x").exception("failed")

    (line,) = lines()
    assert line["exception"].endswith(f"ValueError: no such phone: {logs.HIDDEN}")


def test_libraries_speak_from_warnings_on(lines: Lines) -> None:
    logging.getLogger("some.library").info("chatter")
    logging.getLogger("some.library").warning("trouble")

    assert [line["event"] for line in lines()] == ["trouble"]


def test_configuring_twice_does_not_say_things_twice(lines: Lines) -> None:
    logs.configure("things")

    logging.getLogger("some.library").warning("trouble")

    assert len(lines()) == 1


@given(
    before=st.text(alphabet="abc ,:(王", max_size=5),
    number=st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True),
    after=st.text(alphabet="abc ,:)王", max_size=5),
)
def test_a_planted_phone_number_never_shows(before: str, number: str, after: str) -> None:
    caught = io.StringIO()
    with redirect_stderr(caught):
        logs.get("x").warning("something", error=f"{before} {number} {after}", contact=number)

    assert number not in caught.getvalue()
