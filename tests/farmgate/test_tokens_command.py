"""`farmgate tokens`: what is issued counts, for as long and where it says, until it is revoked."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from farmgate.cli import main
from shared.runtime.auth import Verifier
from shared.runtime.callers import InvalidToken
from shared.runtime.config import Settings

Tokens = Callable[..., Result]
CLERK = ("--subject", "tashi", "--role", "clerk")


@pytest.fixture
def tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tokens:
    monkeypatch.setenv("FARMGATE_DATA", str(tmp_path))
    return lambda *words: CliRunner().invoke(main, ["tokens", *words])


@pytest.fixture
def verifier(tmp_path: Path) -> Verifier:
    return Verifier(Settings.from_environment("orders", {"FARMGATE_DATA": str(tmp_path)}))


def _issued(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.output))


def test_a_clerk_belongs_to_the_sites_that_are_named(tokens: Tokens, verifier: Verifier) -> None:
    sites = {uuid4(), uuid4()}
    named = [word for site in sites for word in ("--site", str(site))]

    issued = _issued(tokens("issue", *CLERK, *named, "--json"))

    assert verifier.caller(issued["token"]).sites == sites
    assert set(issued["site_ids"]) == {str(site) for site in sites}


def test_a_clerk_without_a_site_is_given_no_token(tokens: Tokens) -> None:
    result = tokens("issue", *CLERK)

    assert result.exit_code == 2
    assert "Give --site: a clerk belongs to a site." in result.output


def test_a_token_that_would_live_too_long_is_not_made(
    tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARMGATE_TOKEN_DAYS", "7")

    result = tokens("issue", "--subject", "shop", "--role", "channel", "--days", "8")

    assert result.exit_code == 2
    assert "more than the longest lifetime of a token, 7 (FARMGATE_TOKEN_DAYS)" in result.output


def test_one_token_is_taken_back_by_its_id_and_all_by_their_subject(
    tokens: Tokens, verifier: Verifier
) -> None:
    ask = ("issue", "--subject", "shop", "--role", "channel", "--json")
    first, second = _issued(tokens(*ask)), _issued(tokens(*ask))

    assert tokens("revoke", "--id", first["id"]).exit_code == 0
    with pytest.raises(InvalidToken, match="revoked"):
        verifier.caller(first["token"])
    assert verifier.caller(second["token"]).subject == "shop"

    assert tokens("revoke", "--subject", "shop").exit_code == 0
    with pytest.raises(InvalidToken, match="revoked"):
        verifier.caller(second["token"])
    assert verifier.caller(_issued(tokens(*ask))["token"]).subject == "shop"


def test_a_revocation_that_names_nothing_or_finds_no_key_set_changes_nothing(
    tokens: Tokens, tmp_path: Path
) -> None:
    assert tokens("revoke").exit_code == 2

    result = tokens("revoke", "--subject", "shop")

    assert result.exit_code == 1
    assert "Run this where tokens are issued" in result.output
    assert not (tmp_path / "keys").exists()
