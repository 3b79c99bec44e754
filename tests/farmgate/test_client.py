"""The client repeats what was not answered, and nothing else."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from farmgate import run_file
from farmgate.client import Client, addresses
from farmgate.failures import Refused, Unreachable
from farmgate.services import NAMES


def client_of(url: str, patience: float = 5) -> Client:
    return Client(dict.fromkeys(NAMES, url), "secret-token", patience)


def test_a_post_is_repeated_with_the_same_key_until_it_is_answered(stand: Any) -> None:
    stand.answers += [None, (503, {}), (201, {"order_id": "1"})]

    answer = client_of(stand.url).post("orders", "/orders", {"channel": "online"})

    assert answer == {"order_id": "1"}
    assert len(stand.requests) == 3
    assert len({request.headers["idempotency-key"] for request in stand.requests}) == 1
    assert {request.body for request in stand.requests} == {b'{"channel": "online"}'}


def test_two_posts_have_two_keys(stand: Any) -> None:
    stand.answers += [(201, {}), (201, {})]
    client = client_of(stand.url)

    client.post("orders", "/orders")
    client.post("orders", "/orders")

    first, second = stand.requests
    assert first.headers["idempotency-key"] != second.headers["idempotency-key"]


def test_a_post_whose_first_try_still_runs_is_repeated(stand: Any) -> None:
    stand.answers += [(409, {"type": "/problems/request-in-progress"}), (201, {"done": True})]

    assert client_of(stand.url).post("orders", "/orders") == {"done": True}


def test_a_refusal_is_told_and_not_repeated(stand: Any) -> None:
    problem = {"type": "/problems/unknown-variant", "detail": "There is no variant 7."}
    stand.answers += [(422, problem)]

    with pytest.raises(Refused, match=r"orders answered 422: There is no variant 7\.") as refused:
        client_of(stand.url).post("orders", "/orders")

    assert refused.value.kind == "unknown-variant"
    assert len(stand.requests) == 1


def test_a_service_that_stays_away_is_named_with_what_to_do() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"

        with pytest.raises(Unreachable, match=r"orders at .* cannot be reached.*farmgate up"):
            client_of(url, patience=0.3).get("orders", "/orders")


def test_all_pages_are_read(stand: Any) -> None:
    stand.answers += [(200, {"items": [1, 2], "next": "abc"}), (200, {"items": [3], "next": None})]

    assert list(client_of(stand.url).pages("catalog", "/lots", status="released")) == [1, 2, 3]
    assert [request.path for request in stand.requests] == [
        "/api/catalog/v1/lots?limit=200&status=released",
        "/api/catalog/v1/lots?limit=200&cursor=abc&status=released",
    ]


def test_the_token_is_sent(stand: Any) -> None:
    stand.answers += [(200, {})]

    client_of(stand.url).get("orders", "/orders")

    assert stand.requests[0].headers["authorization"] == "Bearer secret-token"


def test_addresses_come_from_settings_then_from_what_runs(tmp_path: Path) -> None:
    data = {"FARMGATE_DATA": str(tmp_path)}

    assert set(addresses(data).values()) == {"http://127.0.0.1:8000"}
    urls = {name: f"http://10.0.0.1/{name}" for name in NAMES}
    run_file.write(tmp_path, run_file.Run(os.getpid(), "http://10.0.0.1", urls))
    assert addresses(data) == urls
    one = addresses(
        data | {"FARMGATE_URL": "https://a.example/", "FARMGATE_ORDERS_URL": "http://b"}
    )
    assert one == dict.fromkeys(NAMES, "https://a.example") | {"orders": "http://b"}


def test_a_run_file_that_a_killed_process_left_counts_for_nothing(tmp_path: Path) -> None:
    no_process = 2**22 + 1
    run_file.write(tmp_path, run_file.Run(no_process, "http://10.0.0.1", {}))

    assert run_file.read(tmp_path) is None
