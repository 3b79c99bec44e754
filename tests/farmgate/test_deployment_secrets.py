"""A deployment's passwords and keys: made once, each container its own folder."""

import json
import os
import stat

import pika
import psycopg
import pytest
from click.testing import CliRunner
from sqlalchemy.engine import make_url

from farmgate.backup.programs import address_of
from farmgate.cli import main
from farmgate.commands.secrets import command
from farmgate.deployment_secrets import Servers, ensure
from farmgate.failures import Failed
from farmgate.management import management_of
from farmgate.services import NAMES


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "definitions.json"
    }


def password(folder, name):
    return (folder / "operator" / "passwords" / name).read_text()


def test_each_deployment_has_passwords_of_its_own_and_no_two_are_the_same(tmp_path):
    for deployment in ("one", "two"):
        ensure(tmp_path / deployment)
    made = [path.read_text() for path in tmp_path.glob("*/operator/passwords/*")]
    assert len(made) == 2 * (len(NAMES) * 2 + 3)
    assert len(set(made)) == len(made)
    assert all(len(one) >= 32 for one in made)


def test_what_is_there_stays(tmp_path):
    assert "signing key" in ensure(tmp_path)
    before = contents(tmp_path)
    assert ensure(tmp_path) == []
    assert contents(tmp_path) == before


def test_a_service_is_given_its_own_secrets_only(tmp_path):
    ensure(tmp_path)
    for service in NAMES:
        own = " ".join(
            path.read_text()
            for folder in (service, f"{service}-worker")
            for path in (tmp_path / folder).rglob("*")
            if path.is_file()
        )
        assert password(tmp_path, f"database-{service}") in own
        assert password(tmp_path, f"broker-{service}") in own
        others = [f"{kind}-{name}" for kind in ("database", "broker") for name in NAMES]
        for name in {*others, "database-postgres", "broker-topology", "broker-operator"} - {
            f"database-{service}",
            f"broker-{service}",
        }:
            assert password(tmp_path, name) not in own
        assert not (tmp_path / service / "signing.json").exists()


def test_a_removed_password_is_made_anew_and_reaches_all_who_use_it(tmp_path):
    ensure(tmp_path)
    old = password(tmp_path, "database-orders")
    (tmp_path / "operator" / "passwords" / "database-orders").unlink()
    assert ensure(tmp_path) == ["database-orders"]
    new = password(tmp_path, "database-orders")
    assert new != old
    assert not any(old in text for text in contents(tmp_path).values())
    for path in ("orders/database_url", "operator/orders_database_url", "postgres/orders"):
        assert new in (tmp_path / path).read_text()


def test_only_the_operator_can_manage_the_brokers_users(tmp_path):
    ensure(tmp_path)
    secret = password(tmp_path, "broker-operator")
    knowing = {name for name, text in contents(tmp_path).items() if secret in text}
    assert knowing == {"operator/passwords/broker-operator", "operator/broker_management_url"}
    assert (
        management_of(
            {
                "FARMGATE_DATA": str(tmp_path / "operator"),
                "FARMGATE_BROKER_URL_FILE": str(tmp_path / "operator" / "broker_url"),
            }
        ).base
        == "http://rabbitmq:15672"
    )


def test_the_operator_can_publish_again_what_a_service_published(tmp_path):
    ensure(tmp_path)
    for service in NAMES:
        theirs = (tmp_path / f"{service}-worker" / "broker_url").read_text()
        assert (tmp_path / "operator" / f"{service}_broker_url").read_text() == theirs


def test_addresses_follow_the_servers_and_the_passwords_stay(tmp_path):
    ensure(tmp_path)
    before = password(tmp_path, "database-orders")
    ensure(tmp_path, servers=Servers(("db1.lan", "db2.lan:5433"), "mq.lan"))
    assert password(tmp_path, "database-orders") == before

    url = (tmp_path / "orders" / "database_url").read_text()
    assert url == (tmp_path / "operator" / "orders_database_url").read_text()
    given = psycopg.conninfo.conninfo_to_dict(address_of(url))
    assert (given["host"], given["port"]) == ("db1.lan,db2.lan", "5432,5433")
    assert given["target_session_attrs"] == "read-write"
    assert "@mq.lan:5672/%2F" in (tmp_path / "orders-worker" / "broker_url").read_text()
    assert "@mq.lan:15672" in (tmp_path / "operator" / "broker_management_url").read_text()

    ensure(tmp_path)
    assert "@postgres/orders" in (tmp_path / "orders" / "database_url").read_text()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--databases", "db 1"),
        ("--databases", "db1,,db2"),
        ("--broker", "mq1,mq2"),
        ("--broker", "amqp://mq"),
    ],
)
def test_what_is_no_server_is_refused_and_nothing_is_written(tmp_path, arguments):
    done = CliRunner().invoke(command, [*arguments, str(tmp_path)])
    assert done.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_hosts_that_are_set_to_nothing_are_those_of_the_deployment(tmp_path, monkeypatch):
    monkeypatch.setenv("FARMGATE_DATABASE_HOSTS", "")
    monkeypatch.setenv("FARMGATE_BROKER_HOST", "")
    assert CliRunner().invoke(command, [str(tmp_path)]).exit_code == 0
    assert "@postgres/orders" in (tmp_path / "orders" / "database_url").read_text()


def test_an_empty_password_is_none(tmp_path):
    ensure(tmp_path)
    (tmp_path / "operator" / "passwords" / "broker-catalog").write_text("\n")
    assert ensure(tmp_path) == ["broker-catalog"]


def test_only_the_owner_can_read_what_is_for_our_own_containers(tmp_path):
    ensure(tmp_path, os.getuid())
    for folder in ("operator", "topology", *NAMES, "orders-worker", "orders-web"):
        for path in [tmp_path / folder, *(tmp_path / folder).rglob("*")]:
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    # The servers run as users whose numbers we do not know.
    assert stat.S_IMODE((tmp_path / "postgres" / "orders").stat().st_mode) == 0o444


def test_what_is_in_the_way_is_named(tmp_path):
    (tmp_path / "postgres").write_text("not a folder")
    with pytest.raises(Failed, match=r"Secrets cannot be written.*postgres"):
        ensure(tmp_path)


def test_a_token_that_was_taken_back_is_taken_back_in_every_service(tmp_path, monkeypatch):
    ensure(tmp_path)
    monkeypatch.setenv("FARMGATE_DATA", str(tmp_path / "operator"))
    assert CliRunner().invoke(main, ["tokens", "revoke", "--subject", "tashi"]).exit_code == 0

    ensure(tmp_path)

    for service in NAMES:
        document = json.loads((tmp_path / service / "jwks.json").read_text())
        assert set(document["revoked"]["subjects"]) == {"tashi"}
        assert len(document["keys"]) == 1


def test_a_password_of_any_characters_is_read_from_an_address_as_it_is(tmp_path):
    own = "p@s:s/w#o?r%d &=卓"
    for name in ("database-orders", "broker-orders", "broker-operator", "broker-topology"):
        path = tmp_path / "operator" / "passwords" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(own, encoding="utf-8")
    ensure(tmp_path, servers=Servers(databases=("db1:5432", "db2:5432")))

    several = make_url((tmp_path / "orders" / "database_url").read_text())
    broker = pika.URLParameters((tmp_path / "orders-worker" / "broker_url").read_text())
    operator = management_of(
        {
            "FARMGATE_DATA": str(tmp_path / "operator"),
            "FARMGATE_BROKER_URL": (tmp_path / "operator" / "broker_url").read_text(),
        }
    )

    assert (several.password, several.query["host"]) == (own, ("db1:5432", "db2:5432"))
    assert make_url(Servers().database_url("orders", own)).password == own
    assert (broker.credentials.password, broker.virtual_host) == (own, "/")
    assert operator._session.auth == ("operator", own)


def test_the_management_api_of_a_broker_with_an_ipv6_address_is_found(tmp_path):
    found = management_of(
        {"FARMGATE_BROKER_URL": "amqp://u:p@[::1]:5672/a%2Fb", "FARMGATE_DATA": str(tmp_path)}
    )

    assert (found.base, found.vhost) == ("http://[::1]:15672", "a/b")
