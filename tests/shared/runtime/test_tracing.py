"""Spans reach whoever asks for them, hold no personal data, and hold nothing up."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from time import monotonic, time_ns
from uuid import uuid4

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from shared.events import OrderPaid
from shared.messaging.envelope import Envelope, decode, encode, fact_of
from shared.messaging.processing import Processor
from shared.messaging.store import BATCH, TRACED, Waiting, trace_published
from shared.messaging.tables import Outbox
from shared.runtime import clock, tracing
from shared.runtime.database import Database
from shared.runtime.ids import new_id
from tests.support import probe
from tests.support.otlp import Receiver, Seen

Headers = Callable[..., dict[str, str]]
V1 = "/api/things/v1"
PARENT = f"00-{'a' * 32}-{'b' * 16}-01"
NOT_SAMPLED = f"00-{'a' * 32}-{'b' * 16}-00"
SECONDS = 30


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver, named in the environment; nothing is exported before `start`."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    with Receiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        yield receiver
        receiver.open.set()
        tracing.stop()


@pytest.fixture
def told(receiver: Receiver) -> list[str]:
    """Export to the receiver; what the exporter has to say."""
    said: list[str] = []
    tracing.start(said.append)
    return said


def named(name: str) -> Callable[[list[Seen]], bool]:
    return lambda spans: any(span.name == name for span in spans)


def one(spans: list[Seen], name: str) -> Seen:
    (found,) = [span for span in spans if span.name == name]
    return found


def paid(traceparent: str | None, amount_fen: int = 1) -> Envelope:
    body = encode(
        fact_of(
            OrderPaid,
            {
                "order_id": uuid4(),
                "order_ref": "ORD-1",
                "amount_fen": amount_fen,
                "method": "prepaid",
            },
        ),
        event_id=new_id(),
        sequence=1,
        time=clock.now(),
        correlation_id="story",
        causation_id=None,
        traceparent=traceparent,
    )
    return decode(body)


def never_unavailable(seconds: float) -> None:
    raise AssertionError("the database is away")


# --- Requests -----------------------------------------------------------------------------


def test_a_request_is_a_span_and_its_event_carries_it(
    told: list[str], receiver: Receiver, client: FlaskClient, token: Headers, database: Database
) -> None:
    headers = token("things:write") | {"traceparent": PARENT, "X-Request-Id": "story-7"}
    client.post(f"{V1}/things", json={"name": "Tashi", "grams": 5}, headers=headers)

    span = one(
        receiver.wait(named(f"POST {V1}/things"), SECONDS, "the request's span"),
        f"POST {V1}/things",
    )
    assert (span.service, span.kind, span.failed) == ("things", "server", False)
    assert (span.trace_id, span.parent_id) == ("a" * 32, "b" * 16)
    assert span.attributes == {
        "http.request.method": "POST",
        "http.route": f"{V1}/things",
        "http.response.status_code": 201,
        "farmgate.correlation_id": "story-7",
    }
    with database.readers() as session:
        recorded = session.scalars(select(Outbox.traceparent)).one()
    assert recorded == f"00-{span.trace_id}-{span.span_id}-01"
    assert told == []


def test_a_request_that_nobody_traced_begins_a_trace(
    told: list[str], receiver: Receiver, client: FlaskClient, token: Headers
) -> None:
    client.get(f"{V1}/things", headers=token("things:read"))

    name = f"GET {V1}/things"
    span = one(receiver.wait(named(name), SECONDS, "the request's span"), name)
    assert span.parent_id == ""


def test_a_span_tells_the_route_and_that_it_failed_and_nothing_personal(
    told: list[str], receiver: Receiver, client: FlaskClient, token: Headers
) -> None:
    headers = token("things:write") | {"X-Request-Id": "13912345678"}
    client.post(
        f"{V1}/things?phone=13912345678", json={"name": "broken", "grams": 5}, headers=headers
    )
    client.get(f"{V1}/things/{uuid4()}", headers=token("things:read"))

    shown = f"GET {V1}/things/<uuid:thing_id>"
    spans = receiver.wait(named(shown), SECONDS, "the second request's span")
    failed = one(spans, f"POST {V1}/things")
    assert failed.failed
    assert failed.attributes["error.type"] == "500"
    assert "13912345678" not in failed.text
    assert not one(spans, shown).failed  # 404 is the client's
    assert one(spans, shown).attributes["http.response.status_code"] == 404


def test_probes_and_unsampled_requests_make_no_span(
    told: list[str], receiver: Receiver, client: FlaskClient, token: Headers, database: Database
) -> None:
    client.get("/health/live")
    client.get("/metrics")
    headers = token("things:write") | {"traceparent": NOT_SAMPLED}
    client.post(f"{V1}/things", json={"name": "stone", "grams": 5}, headers=headers)
    client.get(f"{V1}/things", headers=token("things:read"))

    spans = receiver.wait(named(f"GET {V1}/things"), SECONDS, "the last request's span")
    assert [span.name for span in spans] == [f"GET {V1}/things"]
    with database.readers() as session:
        recorded = session.scalars(select(Outbox.traceparent)).one()
    assert recorded is not None
    assert recorded.startswith(f"00-{'a' * 32}-")
    assert recorded.endswith("-00")


# --- Events -------------------------------------------------------------------------------


def test_a_handled_event_is_a_child_of_its_cause_and_the_parent_of_what_it_records(
    told: list[str], receiver: Receiver, database: Database
) -> None:
    probe.create_tables(database)
    event = paid(PARENT)

    Processor(probe.SERVICE, database).process([event], never_unavailable)

    name = "handle orders.order_paid.v1"
    span = one(receiver.wait(named(name), SECONDS, "the handled event's span"), name)
    assert (span.service, span.kind) == ("notifications", "consumer")
    assert (span.trace_id, span.parent_id) == ("a" * 32, "b" * 16)
    assert span.attributes == {
        "messaging.message.id": str(event.event_id),
        "farmgate.subject": event.subject,
    }
    with database.readers() as session:
        recorded = session.scalars(select(Outbox.traceparent)).one()
    assert recorded == f"00-{span.trace_id}-{span.span_id}-01"


def test_a_handler_that_fails_is_named_by_its_error_and_not_by_its_words(
    told: list[str], receiver: Receiver, database: Database
) -> None:
    probe.create_tables(database)
    probe.MENDED.clear()

    Processor(probe.SERVICE, database).process([paid(PARENT, probe.FAILS)], never_unavailable)

    name = "handle orders.order_paid.v1"
    spans = receiver.wait(named(name), SECONDS, "the failed event's span")
    assert all(span.failed and span.attributes["error.type"] == "Broken" for span in spans)
    assert all("cannot be handled" not in span.text for span in spans)


def test_each_published_event_is_a_span_if_its_trace_is_kept(
    told: list[str], receiver: Receiver
) -> None:
    rows = [
        Waiting(number, new_id(), "orders.order_paid.v1", b"", traceparent)
        for number, traceparent in enumerate((NOT_SAMPLED, None, PARENT))
    ]
    began = time_ns()

    trace_published("orders", rows, began)

    name = "publish orders.order_paid.v1"
    span = one(receiver.wait(named(name), SECONDS, "the published event's span"), name)
    assert (span.service, span.kind, span.parent_id) == ("orders", "producer", "b" * 16)
    assert span.attributes == {"messaging.message.id": str(rows[2].event_id)}
    assert began == span.began_ns < span.ended_ns


def test_a_flood_of_publishes_is_traced_in_part(told: list[str], receiver: Receiver) -> None:
    rows = [Waiting(number, new_id(), "a.b.v1", b"", PARENT) for number in range(BATCH)]

    trace_published("orders", rows, time_ns())
    trace_published("orders", [Waiting(0, new_id(), "last.b.v1", b"", PARENT)], time_ns())

    spans = receiver.wait(named("publish last.b.v1"), SECONDS, "the last publish's span")
    assert len(spans) == TRACED + 1


def test_services_of_one_process_are_told_apart(told: list[str], receiver: Receiver) -> None:
    for service in ("orders", "catalog"):
        with tracing.span(service, f"of {service}", "consumer", {}):
            pass

    spans = receiver.wait(lambda spans: len(spans) == 2, SECONDS, "both spans")
    assert {(span.service, span.name) for span in spans} == {
        ("orders", "of orders"),
        ("catalog", "of catalog"),
    }


# --- A receiver in trouble ----------------------------------------------------------------


def make_spans(count: int) -> float:
    """Make spans; return the seconds it took."""
    began = monotonic()
    for number in range(count):
        with tracing.span("orders", "work", "consumer", {"number": number}):
            pass
    return monotonic() - began


@pytest.mark.parametrize("trouble", ["down", "refusing"])
def test_a_receiver_in_trouble_costs_one_warning_and_its_return_is_told(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    said: list[str] = []
    if trouble == "down":
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    receiver.status = 500
    tracing.start(said.append)

    for _ in range(3):
        make_spans(600)
        count = receiver.requests
        if trouble == "refusing":
            receiver.wait(lambda _: receiver.requests > count, SECONDS, "another batch")  # noqa: B023
    receiver.wait(lambda _: bool(said), SECONDS, "the warning")

    assert len(said) == 1
    assert said[0].startswith("traces are lost")
    if trouble == "refusing":
        receiver.status = 200
        make_spans(1)
        receiver.wait(lambda _: len(said) == 2, SECONDS, "the second line")
        assert said[1].startswith("traces are sent again")


def test_a_slow_receiver_holds_nothing_up_and_fills_no_memory(
    told: list[str], receiver: Receiver
) -> None:
    receiver.open.clear()

    make_spans(600)
    receiver.wait(lambda _: receiver.requests > 0, SECONDS, "a batch is on its way")
    seconds = make_spans(10_000)
    receiver.open.set()

    assert seconds < 10  # the receiver answers nothing within this time
    spans = receiver.wait(
        lambda spans: any(span.attributes["number"] == 9_999 for span in spans),
        SECONDS,
        "the newest span",
    )
    # What was on its way, and a full queue: the rest is dropped.
    assert len(spans) <= 600 + 2048 + 512


def test_the_end_sends_what_is_left_and_waits_for_nobody(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
    tracing.start(lambda line: None)
    make_spans(3)
    tracing.stop()
    assert len(receiver.spans()) == 3

    receiver.open.clear()
    tracing.start(lambda line: None)
    make_spans(3)
    began = monotonic()
    tracing.stop()
    assert monotonic() - began < 5


# --- Off, and not to be had ---------------------------------------------------------------


def run(code: str, **environment: str) -> str:
    """Run code in a fresh process without other OTEL_… variables; return what it printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nothing_of_opentelemetry_is_imported_unless_asked() -> None:
    code = (
        "import sys, farmgate.cli, farmgate.embedded, shared.messaging.worker\n"
        "from shared.runtime import tracing; from shared import web\n"
        "from shared.runtime.config import Settings\n"
        "settings = Settings.from_environment('things', {'FARMGATE_DATA': '/nowhere'})\n"
        "web.create_app('things', 'Things', [], settings)\n"
        "with tracing.span('things', 'work', 'consumer', {}): pass\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')][:1])\n"
        "print(tracing.exporting())"
    )

    assert run(code) == "[]\nFalse\n"
    assert run(code, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9").endswith("]\nTrue\n")


def test_without_the_extra_one_line_says_so_and_all_goes_on() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from shared.runtime import tracing\n"
        "tracing.start(print)\n"
        "with tracing.span('things', 'work', 'consumer', {}): print('worked')"
    )

    said, worked = run(code, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9").splitlines()

    assert said.startswith("no traces: install farmgate[otel]")
    assert worked == "worked"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1"),
    ],
)
def test_a_wrong_variable_is_one_line_and_all_goes_on(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    said: list[str] = []
    tracing.start(said.append)

    with tracing.span("things", "work", "consumer", {}):
        cause = tracing.get_or_new()
    with tracing.span("things", "more work", "consumer", {}):
        pass

    assert len(said) == 1
    assert said[0].startswith("no traces: ")
    assert cause.traceparent is None
    assert not tracing.exporting()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:1"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://h:1"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:1"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:1"}, False),
    ],
    ids=str,
)
def test_the_standard_variables_say_whether_traces_are_expected(
    environment: dict[str, str], expected: bool
) -> None:
    assert tracing.enabled(environment) is expected


def test_a_process_that_forks_exports_from_both_sides_and_flushes_at_its_end(
    receiver: Receiver,
) -> None:
    code = (
        "import os, sys\n"
        "from shared.runtime import tracing\n"
        "tracing.start(print)\n"
        "with tracing.span('things', 'before', 'consumer', {}): pass\n"
        "child = os.fork()\n"
        "name = 'parent' if child else 'child'\n"
        "with tracing.span('things', name, 'consumer', {}): pass\n"
        "if child: os.waitpid(child, 0)\n"
    )

    run(code, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTEL_BSP_SCHEDULE_DELAY="60000")

    assert sorted(span.name for span in receiver.spans()) == ["before", "child", "parent"]
