"""One deployment for all tests here, built from this tree and removed with its data."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.testing.servers import wait_until

ROOT = Path(__file__).parents[2]
PROJECT = "farmgate-tests"


class Deployment:
    """docker-compose, and what the host knows about the containers it started."""

    def __init__(self, port: int) -> None:
        self.environment = {**os.environ, "FARMGATE_PORT": str(port), "FARMGATE_BIND": "127.0.0.1"}

    def arguments(self, *arguments: str) -> list[str]:
        return ["docker-compose", "-p", PROJECT, *arguments]

    def compose(self, *arguments: str, seconds: float = 300) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.arguments(*arguments),
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    def must(self, *arguments: str) -> str:
        """Run docker-compose and return what it printed; its own words when it fails."""
        done = self.compose(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def farmgate(self, *arguments: str) -> str:
        return self.must("run", "--rm", "-T", "farmgate", *arguments)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Run the operator's command beside the test."""
        return subprocess.Popen(
            self.arguments("run", "--rm", "-T", "farmgate", *arguments),
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def container(self, service: str) -> str:
        return self.must("ps", "-a", "-q", service).strip()

    def inspect(self, service: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(docker("inspect", self.container(service)))[0]
        return told

    def healthy(self, service: str) -> bool:
        state = self.inspect(service)["State"]
        return bool(state["Running"]) and state.get("Health", {}).get("Status") in (None, "healthy")

    def address(self, service: str) -> str:
        """Where this host alone reaches a container: no port of it is published."""
        networks = self.inspect(service)["NetworkSettings"]["Networks"]
        return next(network["IPAddress"] for network in networks.values())

    def password(self, name: str) -> str:
        return self.must(
            "run", "--rm", "-T", "--entrypoint", "cat", "farmgate", f"/run/secrets/passwords/{name}"
        ).strip()


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def deployment() -> Iterator[Deployment]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    deployment = Deployment(port)
    try:
        deployment.must("up", "-d", "--build")
        names = deployment.must("ps", "--services").split()
        lasting = [name for name in names if name != "farmgate" and not once(deployment, name)]
        wait_until(
            lambda: all(deployment.healthy(name) for name in lasting), 90, f"healthy: {lasting}"
        )
        deployment.farmgate("sample", "load")
        yield deployment
    finally:
        deployment.compose("down", "-v", "--remove-orphans")


def once(deployment: Deployment, service: str) -> bool:
    """Tell whether a service is a job that ends; its container is not started again."""
    return bool(deployment.inspect(service)["HostConfig"]["RestartPolicy"]["Name"] in ("", "no"))
