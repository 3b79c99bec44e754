"""The command explains itself, and its exit codes mean something."""

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from farmgate.cli import COMMANDS
from farmgate.locking import lock_data_folder
from farmgate.roles import ROLES, SCOPES
from farmgate.services import NAMES, application_of
from shared.runtime import keys
from shared.runtime.config import Settings
from shared.web.access import EVERYBODY, scope_of

Farmgate = Callable[..., Result]


@pytest.mark.parametrize("name", [*COMMANDS, "sample load", "tokens issue"])
def test_every_command_explains_itself(farmgate: Farmgate, name: str) -> None:
    result = farmgate(*name.split(), "--help")

    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")


def test_the_first_page_names_every_command(farmgate: Farmgate) -> None:
    output = farmgate("--help").output

    assert all(f"\n  {name} " in output for name in COMMANDS)


def test_an_unknown_command_is_wrong_usage(farmgate: Farmgate) -> None:
    assert farmgate("fly").exit_code == 2


@pytest.mark.parametrize(
    "arguments", [("demo",), ("sample", "load"), ("trace", "ORD-7KQ2M9XH")], ids=lambda a: a[0]
)
def test_without_a_key_there_is_no_token_and_the_command_says_so(
    farmgate: Farmgate, arguments: tuple[str, ...]
) -> None:
    result = farmgate(*arguments)

    assert result.exit_code == 1
    assert "farmgate up" in result.output


def test_a_limit_that_is_no_number_is_refused_before_any_process_starts(
    farmgate: Farmgate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARMGATE_HANG_SECONDS", "soon")

    result = farmgate("web", "orders")

    assert result.exit_code == 1
    assert "FARMGATE_HANG_SECONDS must be a whole number" in result.output


def test_what_cannot_be_reached_is_exit_code_3(
    farmgate: Farmgate, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("FARMGATE_URL", f"http://127.0.0.1:{unused.getsockname()[1]}")
        monkeypatch.setenv("FARMGATE_TOKEN", "a-token")

        result = farmgate("trace", "ORD-7KQ2M9XH")

    assert result.exit_code == 3
    assert "cannot be reached" in result.output


def test_a_wrong_setting_is_told_by_name(
    farmgate: Farmgate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARMGATE_OUTBOX_DAYS", "many")

    result = farmgate("migrate", "catalog")

    assert result.exit_code == 1
    assert "FARMGATE_OUTBOX_DAYS" in result.output


def test_a_token_has_the_scopes_of_its_role_and_the_named_ones(farmgate: Farmgate) -> None:
    result = farmgate(
        *("tokens", "issue", "--subject", "shop", "--role", "channel", "--scope", "stock:read"),
        "--json",
    )

    issued = json.loads(result.output)
    assert issued["scopes"] == [
        "availability:read",
        "orders:place",
        "orders:place_for",
        "orders:read",
        "events:read",
        "events:manage",
        "stock:read",
    ]
    assert issued["token"].count(".") == 2


@pytest.mark.parametrize("subject", ["", "  ", "\u3000", "\u200b"])
def test_a_token_for_nobody_is_refused(farmgate: Farmgate, subject: str) -> None:
    result = farmgate("tokens", "issue", "--subject", subject, "--role", "channel")

    assert result.exit_code == 2
    assert "must not be blank" in result.output


def test_a_token_s_subject_is_written_as_it_is_compared(farmgate: Farmgate) -> None:
    result = farmgate(
        "tokens", "issue", "--subject", " 卓\u200b嘎\u3000", "--role", "channel", "--json"
    )

    assert json.loads(result.output)["subject"] == "卓嘎"


def test_a_token_without_scopes_is_refused(farmgate: Farmgate) -> None:
    result = farmgate("tokens", "issue", "--subject", "shop")

    assert result.exit_code == 2
    assert "--role or --scope" in result.output


def test_roles_only_give_known_scopes() -> None:
    assert all(set(scopes) <= set(SCOPES) for scopes in ROLES.values())


@pytest.mark.parametrize("name", NAMES)
def test_every_scope_that_a_route_asks_for_can_be_given(name: str, tmp_path: Path) -> None:
    keys.ensure(tmp_path)
    settings = Settings.from_environment(name, {"FARMGATE_DATA": str(tmp_path)})
    app = application_of(name)(settings)
    app.extensions["farmgate"].database.close()

    asked = {scope_of(view) for view in app.view_functions.values()} - {EVERYBODY}

    assert asked <= set(SCOPES)


def test_topology_without_a_broker_says_which_setting_is_missing(farmgate: Farmgate) -> None:
    result = farmgate("topology")

    assert result.exit_code == 1
    assert "FARMGATE_BROKER_URL" in result.output


def test_a_second_start_on_the_same_data_is_refused(farmgate: Farmgate, tmp_path: Path) -> None:
    with lock_data_folder(tmp_path / "var"):
        result = farmgate("up", "--port", "0")

    assert result.exit_code == 1
    assert "already runs" in result.output


def test_a_data_folder_that_cannot_be_written_is_named(farmgate: Farmgate, tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file, not a folder")

    result = farmgate("up")

    assert result.exit_code == 1
    assert "Set FARMGATE_DATA" in result.output
