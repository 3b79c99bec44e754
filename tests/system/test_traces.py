"""One order is one trace, from its request through all four services to the message about it."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from shared.runtime import keys
from tests.support.otlp import Receiver, Seen
from tests.support.processes import Processes, answers, get
from tests.support.servers import free_port, stop, wait_until
from tests.support.systems import EMBEDDED_FIRST

#: Seconds until what must happen has happened; the machine may have other work.
SECONDS = 60


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver that the processes started by this test find in their environment."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    with Receiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        yield receiver


class Operator:
    """An operator's HTTP calls."""

    def __init__(self, system: Processes) -> None:
        self.system = system
        done = system.command("tokens", "issue", "--subject", "operator", "--role", "operator")
        self.headers = {"Authorization": f"Bearer {done.stdout.strip()}"}

    def get(self, service: str, path: str) -> dict[str, Any]:
        return get(f"{self.system.urls[service]}/api/{service}/v1{path}", self.headers)

    def send(
        self, method: str, service: str, path: str, body: dict[str, Any], **headers: str
    ) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.system.urls[service]}/api/{service}/v1{path}",
            json.dumps(body).encode(),
            {
                **self.headers,
                "Content-Type": "application/json",
                "Idempotency-Key": str(uuid4()),
                **headers,
            },
            method=method,
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return dict(json.load(answer))

    def place(self, story: str) -> str:
        """Place an order for cash, to be told about at any hour; return its id."""
        products = self.get("catalog", "/products?limit=200")["items"]
        (tsampa,) = [product for product in products if product["code"] == "TSAMPA"]
        variant = tsampa["variants"][0]
        sites = self.get("logistics", "/sites?limit=200")["items"]
        placed = self.send(
            "POST",
            "orders",
            "/orders",
            {
                "channel": "online",
                "payment_method": "cash_on_delivery",
                "site_id": next(site["site_id"] for site in sites if site["level"] == "centre"),
                "collect": False,
                "lines": [
                    {"variant_id": variant["variant_id"], "quantity": variant["pack_quantity"]}
                ],
                "contact": {
                    "name": "Tashi",
                    "phone": "13889041234",
                    "address": "Bayi Town 1",
                    "language": "zh",
                },
            },
            **{"X-Request-Id": story},
        )
        buyer = placed["buyer_id"]
        person = f"buyer:{buyer}" if buyer else f"order:{placed['order_id']}"
        self.send(
            "PUT",
            "notifications",
            f"/preferences/{person}",
            {
                "language": None,
                "quiet_from": "00:00",
                "quiet_to": "00:00",
                "channels": ["file"],
                "daily_cap": None,
            },
        )
        return str(placed["order_id"])


def sample_is_everywhere(system: Processes) -> bool:
    return all(system.ready(name)["oldest_unpublished_seconds"] == 0 for name in system.urls)


#: Service and name of each span, in the order of the story; each is the child of the one before.
STORY = [
    ("orders", "POST /api/orders/v1/orders"),
    ("catalog", "handle orders.order_placed.v1"),
    ("orders", "handle catalog.stock_reserved.v1"),
    ("notifications", "handle orders.order_confirmed.v1"),
    ("notifications", "message order_confirmed"),
]


@pytest.mark.parametrize("setup", EMBEDDED_FIRST)
def test_an_order_is_one_trace_from_its_request_to_its_message(
    start_with_sample: Callable[[str], Processes], receiver: Receiver, setup: str
) -> None:
    system = start_with_sample(setup)
    wait_until(lambda: sample_is_everywhere(system), SECONDS, "the sample has reached everybody")
    story = f"story-{uuid4().hex}"

    Operator(system).place(story)

    def trace(spans: list[Seen]) -> list[Seen]:
        ids = {
            span.trace_id
            for span in spans
            if span.attributes.get("farmgate.correlation_id") == story
        }
        return [span for span in spans if span.trace_id in ids]

    wanted = {
        *STORY,
        ("logistics", "handle orders.order_confirmed.v1"),
        ("logistics", "publish logistics.shipment_planned.v1"),
        ("orders", "publish orders.order_placed.v1"),
        ("notifications", "message order_placed"),
    }
    spans = trace(
        receiver.wait(
            lambda spans: wanted <= {(span.service, span.name) for span in trace(spans)},
            SECONDS,
            "every step of the story has its span",
        )
    )

    def only(service: str, name: str) -> Seen:
        (span,) = [span for span in spans if (span.service, span.name) == (service, name)]
        return span

    assert len({span.trace_id for span in spans}) == 1
    steps = [only(*step) for step in STORY]
    assert [span.parent_id for span in steps] == ["", *(span.span_id for span in steps[:-1])]
    confirmed = steps[2]
    assert only("logistics", "handle orders.order_confirmed.v1").parent_id == confirmed.span_id
    assert only("orders", "publish orders.order_placed.v1").parent_id == steps[0].span_id
    # Whose parent is not here? Only the first one's: nothing hangs in the air.
    known = {span.span_id for span in spans}
    assert [span.name for span in spans if span.parent_id not in known] == [STORY[0][1]]
    assert [span.name for span in spans if span.failed] == []
    assert "13889041234" not in "".join(span.text for span in receiver.spans())


@pytest.mark.system
def test_orders_go_on_while_the_receiver_is_away(
    start_with_sample: Callable[[str], Processes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    system = start_with_sample("embedded")
    operator = Operator(system)
    log = system.folder / "var" / "logs" / "farmgate.log"

    order_id = operator.place("story")

    wait_until(
        lambda: operator.get("orders", f"/orders/{order_id}")["state"] == "confirmed",
        SECONDS,
        "the order is confirmed",
    )
    wait_until(lambda: "traces are lost" in log.read_text(encoding="utf-8"), SECONDS, "the warning")
    assert log.read_text(encoding="utf-8").count("traces are lost") == 1


@pytest.mark.system
def test_a_web_process_sends_its_last_spans_when_it_is_stopped(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")  # so that only the end sends
    monkeypatch.setenv("FARMGATE_DATA", str(tmp_path))
    keys.ensure(tmp_path)
    farmgate = [sys.executable, "-m", "farmgate"]
    subprocess.run([*farmgate, "migrate", "logistics"], check=True, timeout=SECONDS)
    port = free_port()
    with (tmp_path / "web.log").open("wb") as log:
        web = subprocess.Popen(
            [*farmgate, "web", "logistics", "--port", str(port)],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(url, "logistics"), SECONDS, f"it answers; see {tmp_path}")
        get(f"{url}/api/logistics/v1/sites")
        assert receiver.spans() == []
    finally:
        stop(web)

    spans = receiver.wait(bool, SECONDS, "the span arrives")
    assert [(span.name, span.attributes["http.response.status_code"]) for span in spans] == [
        ("GET /api/logistics/v1/sites", 200)
    ]
