"""The gateway by itself, before services that are away: what it shows, says and writes down."""

import subprocess
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from uuid import uuid4

import pytest
import requests

from tests.deployment.conftest import docker
from tests.support.servers import free_port, wait_until

FOLDER = Path(__file__).parents[2] / "deploy" / "gateway"
SECRET = "q7x0Zl3XWqvO3PzJ1gGm6C2l0bX1mQk9t8nYwUu5r4E"


@pytest.fixture(scope="module")
def gateway() -> Iterator[dict[int, str]]:
    """Start nginx as docker-compose.yml does; return its addresses by the port inside."""
    name = f"farmgate-gateway-{uuid4().hex[:8]}"
    ports = {inside: free_port() for inside in (8080, 8090)}
    mounts = [
        f"--volume={FOLDER / file}:/etc/nginx/farmgate/{target}:ro"
        for file, target in (
            *((f"{part}.conf", f"{part}.conf") for part in ("nginx", "site", "headers", "outside")),
            ("http.conf", "server.conf"),
        )
    ]
    # A network of its own has Docker's resolver.
    docker("network", "create", name)
    try:
        docker(
            *("run", "--detach", "--name", name, "--network", name, "--user", "10002:10002"),
            # Who is looked up is found, and does not listen.
            *(f"--network-alias={away}" for away in ("pages", "orders-web", "catalog-web")),
            *("--read-only", "--tmpfs", "/tmp:uid=10002,gid=10002", *mounts),
            *(f"--publish=127.0.0.1:{outside}:{inside}" for inside, outside in ports.items()),
            *("nginx:stable-bookworm", "nginx", "-c", "/etc/nginx/farmgate/nginx.conf"),
            *("-g", "daemon off;"),
        )
        addresses = {inside: f"http://127.0.0.1:{outside}" for inside, outside in ports.items()}
        wait_until(lambda: _alive(addresses[8080]), 30, "the gateway answers")
        yield addresses | {0: name}
    finally:
        docker("rm", "--force", name)
        docker("network", "rm", name)


def _alive(address: str) -> bool:
    try:
        return requests.get(f"{address}/-/alive", timeout=2).status_code == 204
    except requests.ConnectionError:
        return False


@pytest.mark.parametrize(
    "path",
    [
        *("/api/orders/docs", "/api/orders/docs/x", "/api/orders//docs", "/api/orders/%64ocs"),
        *("/api/orders/openapi.json", "/api/orders/health/ready", "/api/orders/health/live"),
        *("/api/catalog/metrics", "/status.json", "/api/orders/v1/../health/ready"),
    ],
)
def test_how_services_do_and_are_called_is_shown_inside_only(
    gateway: dict[int, str], path: str
) -> None:
    def status(port: int) -> int:
        # Not by requests, which would tidy the path up.
        with closing(HTTPConnection(gateway[port].removeprefix("http://"), timeout=10)) as calling:
            calling.request("GET", path)
            with calling.getresponse() as answer:
                return answer.status

    assert status(8080) == 404
    # Nobody is there to answer; the gateway asked.
    assert status(8090) == 503


def test_the_start_page_is_not_shown_outside_and_no_redirect_believes_the_host(
    gateway: dict[int, str],
) -> None:
    answer = requests.get(
        f"{gateway[8080]}/", headers={"Host": "evil.example"}, allow_redirects=False, timeout=10
    )

    assert (answer.status_code, answer.headers["Location"]) == (302, "/till/")


def test_a_request_that_fails_leaves_no_path_and_no_query_in_the_logs(
    gateway: dict[int, str],
) -> None:
    headers = {"Referer": f"http://127.0.0.1/{SECRET}"}
    for path in (f"/api/orders/v1/guest-orders/{SECRET}", f"/till/?phone={SECRET}"):
        answer = requests.get(gateway[8080] + path, headers=headers, timeout=10)
        # As the body says: a client repeats a 503.
        assert (answer.status_code, answer.json()["status"]) == (503, 503)

    done = subprocess.run(
        ["docker", "logs", gateway[0]], capture_output=True, text=True, timeout=60
    )

    assert '"status":503' in done.stdout
    assert SECRET not in done.stdout + done.stderr
