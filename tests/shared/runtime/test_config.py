"""A setting that is missing or wrong stops a process at its start, and is named."""

from pathlib import Path

import pytest

from shared.runtime.config import Settings, read, read_integer
from shared.runtime.errors import Misconfigured


def test_without_any_setting_a_service_runs_embedded() -> None:
    settings = Settings.from_environment("orders", {})

    assert settings.broker_url is None
    assert settings.database_url == "sqlite:///var/orders.db"
    assert settings.jwks == "var/keys/jwks.json"
    assert (settings.outbox_days, settings.inbox_days) == (30, 90)


def test_a_service_s_own_setting_wins_over_the_common_one() -> None:
    environment = {"FARMGATE_BROKER_URL": "amqp://all", "FARMGATE_ORDERS_BROKER_URL": "amqp://own"}

    assert Settings.from_environment("orders", environment).broker_url == "amqp://own"
    assert Settings.from_environment("catalog", environment).broker_url == "amqp://all"


def test_an_empty_broker_address_means_none() -> None:
    assert Settings.from_environment("orders", {"FARMGATE_BROKER_URL": ""}).broker_url is None


def test_a_value_may_stand_in_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hush\n")

    assert read({"KEY_FILE": str(secret)}, "KEY") == "hush"
    assert read({"KEY_FILE": str(secret), "KEY": "said"}, "KEY") == "said"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"KEY_FILE names .*nowhere"):
        read({"KEY_FILE": str(tmp_path / "nowhere")}, "KEY", "default")


def test_a_setting_without_default_must_be_set() -> None:
    with pytest.raises(Misconfigured, match=r"Set KEY \(or KEY_FILE\)"):
        read({}, "KEY")


@pytest.mark.parametrize("text", ["", "x", "1.5", "-1", "0", "1e3", "²", "--5"])
def test_a_number_that_is_none_or_too_small_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured, match="KEY must be a whole number of at least 1"):
        read_integer({"KEY": text}, "KEY", 5, least=1)


def test_a_number_that_is_too_large_is_refused() -> None:
    with pytest.raises(
        Misconfigured, match="KEY must be a whole number of at least 1 and at most 9"
    ):
        read_integer({"KEY": "10"}, "KEY", 5, least=1, most=9)


def test_the_inbox_must_outlive_the_outbox() -> None:
    environment = {"FARMGATE_INBOX_DAYS": "10", "FARMGATE_OUTBOX_DAYS": "20"}

    with pytest.raises(Misconfigured, match="FARMGATE_INBOX_DAYS"):
        Settings.from_environment("orders", environment)


def test_settings_shown_do_not_show_the_environment() -> None:
    environment = {"FARMGATE_PAYMENT_SECRET": "whsec_hush"}

    assert "hush" not in repr(Settings.from_environment("orders", environment))
