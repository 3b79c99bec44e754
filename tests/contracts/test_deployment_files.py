"""docker-compose.yml and the gateway's files: who holds which secret, and what is shown outside."""

from pathlib import Path
from typing import Any

import grimp
import pytest
import yaml

from farmgate.deployment_secrets import ensure
from farmgate.services import NAMES

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
CONTAINERS: dict[str, Any] = COMPOSE["services"]
#: Run by hand or once, with all that the operator has.
OPERATORS = {"farmgate", "demo", "secrets"}


def held_by(container: str, secrets: Path) -> str:
    """Return all text of the secrets that a container can read."""
    folders = dict(volume.split(":")[:2] for volume in CONTAINERS["secrets"]["volumes"])
    read = []
    for mounted in CONTAINERS[container].get("volumes", ()):
        folder = folders.get(mounted.split(":")[0])
        if folder is not None:
            files = (secrets / Path(folder).name).rglob("*")
            read += [path.read_text() for path in files if path.is_file()]
    return "\n".join([*read, *map(str, CONTAINERS[container].get("environment", {}).values())])


def test_only_workers_and_the_operator_hold_a_services_broker_password(tmp_path: Path) -> None:
    ensure(tmp_path)
    for name in NAMES:
        password = (tmp_path / "operator" / "passwords" / f"broker-{name}").read_text()
        holding = {c for c in CONTAINERS if password in held_by(c, tmp_path)}
        assert holding == {f"{name}-worker", *OPERATORS}


def test_only_orders_web_process_and_the_operator_hold_the_payment_secret(tmp_path: Path) -> None:
    ensure(tmp_path)
    secret = (tmp_path / "operator" / "keys" / "payment_secret").read_text()
    holding = {c for c in CONTAINERS if secret in held_by(c, tmp_path)}
    assert holding == {"orders-web", *OPERATORS}


def test_only_notifications_and_the_operator_hold_the_webhook_key(tmp_path: Path) -> None:
    ensure(tmp_path)
    key = (tmp_path / "operator" / "keys" / "webhook_key").read_text()
    holding = {c for c in CONTAINERS if key in held_by(c, tmp_path)}
    own = {c for c in CONTAINERS if c.startswith("notifications-")}
    assert holding == {*own, *OPERATORS}


def test_secrets_that_the_version_before_left_in_a_shared_folder_are_taken_out(
    tmp_path: Path,
) -> None:
    for left in ("broker_url", "payment_secret"):
        (tmp_path / "orders").mkdir(exist_ok=True)
        (tmp_path / "orders" / left).write_text("old")

    ensure(tmp_path)

    assert {path.name for path in (tmp_path / "orders").iterdir()} == {"database_url", "jwks.json"}


@pytest.mark.parametrize("container", sorted(CONTAINERS))
def test_each_file_that_a_container_is_told_to_read_is_mounted_in_it(
    container: str, tmp_path: Path
) -> None:
    ensure(tmp_path)
    folders = dict(volume.split(":")[:2] for volume in CONTAINERS["secrets"]["volumes"])
    mounts = dict(volume.split(":")[:2] for volume in CONTAINERS[container].get("volumes", ()))
    places = {place: folders.get(volume) for volume, place in mounts.items()}

    for name, value in CONTAINERS[container].get("environment", {}).items():
        if not name.endswith("_FILE") or not name.startswith("FARMGATE_"):
            continue
        folder = places[str(Path(value).parent)]
        assert folder is not None
        assert (tmp_path / Path(folder).name / Path(value).name).exists(), name


def test_the_database_server_logs_neither_values_of_rows_nor_statements() -> None:
    command = CONTAINERS["postgres"]["command"]

    assert "-c log_error_verbosity=terse" in command
    assert "-c log_min_error_statement=panic" in command


def test_no_process_of_a_service_is_reached_without_the_gateway() -> None:
    # The gateway's limits hold for what comes through it, and it shows no service's state outside.
    publishing = {name for name, container in CONTAINERS.items() if "ports" in container}

    assert publishing == {"gateway", "gateway-tls", "grafana"}
    inside = [port for name in publishing for port in CONTAINERS[name]["ports"] if "8090" in port]
    assert inside == []


def test_a_services_image_holds_all_that_its_processes_import_of_the_command() -> None:
    stage = (ROOT / "Dockerfile").read_text().partition("FROM process AS service")[2]
    lines = stage.replace("\\\n", "").splitlines()
    copied = {
        word.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for line in lines
        if line.startswith("COPY farmgate/")
        for word in line.split()[1:-1]
    }
    graph = grimp.build_graph("farmgate", cache_dir=None)

    needed = {f"farmgate.commands.{name}" for name in ("migrate", "web", "worker")}
    needed |= {other for name in needed for other in graph.find_upstream_modules(name)}

    assert needed <= copied
