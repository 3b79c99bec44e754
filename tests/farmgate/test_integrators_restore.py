"""A broker that lost its data gets its integrators back from a backup, with their passwords."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pika.exceptions import ProbableAuthenticationError

from farmgate.backup import manifest
from farmgate.backup.manifest import FORMAT, Manifest
from farmgate.cli import main
from farmgate.integrators import Account, list_integrators
from farmgate.management import management_of
from shared.messaging.topology import Integrator
from shared.runtime.clock import now
from tests.farmgate.conftest import Farmgate, added, connect
from tests.support.feeding import take_one
from tests.support.servers import RabbitMQ


@pytest.fixture
def backup(
    integrators: Farmgate, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Run `farmgate backup` beside the broker of `integrators`, of four empty databases."""
    monkeypatch.setenv("FARMGATE_DATA", str(data))

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["backup", str(tmp_path / "set"), *arguments])

    return run


@pytest.fixture
def set_of(tmp_path: Path) -> Callable[..., str]:
    """Write a set without databases that has these integrators; return its folder."""

    def write(*accounts: Account, unknown: bool = False) -> str:
        folder = tmp_path / "set"
        folder.mkdir()
        manifest.write(folder, Manifest(FORMAT, "1", now(), (), None if unknown else accounts))
        return str(folder)

    return write


@pytest.mark.broker
def test_after_the_broker_s_loss_partners_log_in_with_the_passwords_they_have(
    integrators: Farmgate,
    backup: Callable[..., Result],
    name: str,
    vhost: str,
    broker: RabbitMQ,
    tmp_path: Path,
) -> None:
    told = added(integrators, name, "--max-megabytes", "3")
    made = backup()
    assert made.exit_code == 0, made.output
    assert f"Integrators: {name}" in made.output
    assert integrators("remove", name, "--yes").exit_code == 0
    with pytest.raises(ProbableAuthenticationError):
        connect(vhost, told["user"], told["password"])

    done = integrators("restore", str(tmp_path / "set"), "--json")

    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == [
        {"name": name, "queue": told["queue"], "done": "made, with the password that it has"}
    ]
    with connect(vhost, told["user"], told["password"]) as connection:
        take_one(connection.channel(), told["queue"], within=0.1)
    environment = {
        "FARMGATE_BROKER_URL": vhost,
        "FARMGATE_BROKER_MANAGEMENT_URL": broker.management_url,
    }
    assert list_integrators(management_of(environment)) == [Integrator(name, 3_145_728)]


@pytest.mark.broker
def test_who_is_there_is_left_as_it_is(
    integrators: Farmgate, backup: Callable[..., Result], name: str, vhost: str, tmp_path: Path
) -> None:
    added(integrators, name)
    assert backup().exit_code == 0
    told = added(integrators, name, "--new-password")
    opened = connect(vhost, told["user"], told["password"])

    done = integrators("restore", str(tmp_path / "set"))

    assert f"{name}: is there, left as it is" in done.output
    opened.process_data_events()
    opened.close()


@pytest.mark.broker
def test_what_is_shown_of_a_set_has_names_and_nothing_to_guess_at(
    integrators: Farmgate, backup: Callable[..., Result], name: str
) -> None:
    added(integrators, name)

    made, looked = backup("--json"), backup("--check", "--json")

    for done in (made, looked):
        assert json.loads(done.stdout)["integrators"] == [name]
        assert "password" not in done.stdout


@pytest.mark.broker
def test_one_without_a_user_is_named_and_the_others_are_made(
    integrators: Farmgate, set_of: Callable[..., str], name: str, vhost: str
) -> None:
    half = Account(Integrator("by-half"), None)
    whole = Account(Integrator(name), "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR")

    done = integrators("restore", set_of(half, whole))

    assert "farmgate integrators add by-half" in done.output
    # Source of the pair: RabbitMQ documentation, "Credentials and Passwords".
    connect(vhost, f"integrator-{name}", "test12").close()
    assert [row["name"] for row in json.loads(integrators("list", "--json").stdout)] == [name]


@pytest.mark.broker
@pytest.mark.parametrize(
    ("given", "arguments", "said"),
    [
        ({"unknown": True}, (), "has no list of integrators"),
        ({}, ("nobody",), "has no integrator nobody"),
    ],
)
def test_what_a_set_does_not_have_is_refused_in_words(
    integrators: Farmgate,
    set_of: Callable[..., str],
    given: dict[str, Any],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    done = integrators("restore", set_of(**given), *arguments)

    assert done.exit_code == 1
    assert said in done.output


@pytest.mark.broker
def test_a_set_of_none_makes_none(integrators: Farmgate, set_of: Callable[..., str]) -> None:
    done = integrators("restore", set_of())

    assert (done.exit_code, done.output) == (
        0,
        "There were no integrators when the backup was made.\n",
    )


@pytest.mark.parametrize(
    "strange",
    [
        {"integrator": {"name": "../x", "max_bytes": 1}, "password_hash": None},
        {"integrator": {"name": "shop", "max_bytes": 1}, "password_hash": 5},
        {"integrator": {"name": "shop", "max_bytes": "1"}, "password_hash": "x"},
        {"name": "shop"},
        "shop",
    ],
)
def test_a_set_with_strange_integrators_is_damaged(
    farmgate: Farmgate, set_of: Callable[..., str], strange: Any
) -> None:
    folder = set_of()
    file = Path(folder) / manifest.NAME
    file.write_text(json.dumps(json.loads(file.read_text()) | {"integrators": [strange]}))

    done = farmgate("backup", folder, "--check")

    assert done.exit_code == 1
    assert "is damaged" in done.output


def test_a_broker_that_is_away_stops_no_backup_and_is_told(
    farmgate: Farmgate, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARMGATE_BROKER_URL", "amqp://guest:guest@127.0.0.1:9/%2F")
    monkeypatch.setenv("FARMGATE_BROKER_MANAGEMENT_URL", "http://guest:guest@127.0.0.1:9")

    done = farmgate("backup", str(tmp_path / "set"))

    assert done.exit_code == 0, done.output
    assert "Integrators are not in the set" in done.output and "cannot be reached" in done.output
    assert manifest.read(tmp_path / "set").integrators is None


def test_without_a_broker_a_backup_says_nothing_of_integrators(
    farmgate: Farmgate, data: Path, tmp_path: Path
) -> None:
    done = farmgate("backup", str(tmp_path / "set"))

    assert done.exit_code == 0, done.output
    assert "ntegrator" not in done.output
