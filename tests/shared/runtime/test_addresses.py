"""Addresses say what was meant, whatever characters a path or a password has."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pika
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from shared.runtime import addresses, migrations
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.errors import Misconfigured

#: Characters that mean something in an address, and some that do not.
ODD = "a b%20#?&=+;@:[]~'\"\\ä卓ཀ"
SECRET = "p@s:s/w#o?r%d"


@pytest.mark.parametrize(
    "name", ["a%20b", "a b", "a#b", "a?mode=ro", "a%", "卓嘎", "a@b:c", "a+b", ODD]
)
def test_databases_lie_in_the_folder_that_was_named(tmp_path: Path, name: str) -> None:
    data = tmp_path / name
    settings = Settings.from_environment("orders", {"FARMGATE_DATA": str(data)})

    migrations.upgrade("orders", settings.database_url)
    database = Database(settings.database_url)
    with database.readers() as session:
        (_, _, file) = session.connection().exec_driver_sql("PRAGMA database_list").one()
    database.close()

    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert Path(file) == data / "orders.db"


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_an_sqlite_address_leads_to_its_path(name: str) -> None:
    path = Path("/x") / name

    assert make_url(addresses.sqlite(path)).database == path.as_posix()


def test_a_path_that_is_no_text_is_refused_by_name() -> None:
    with pytest.raises(Misconfigured, match="FARMGATE_DATA"):
        Settings.from_environment("orders", {"FARMGATE_DATA": "/x/\udcff"})


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_password_is_read_as_it_was_given(password: str) -> None:
    who = addresses.user("us:er", password)

    database = make_url(addresses.check_database("D", f"postgresql+psycopg://{who}@h:1/d"))
    broker = addresses.check_broker("B", f"amqp://{who}@h:2/%2Fa%2Fb")
    parts = urlsplit(broker)
    credentials = pika.URLParameters(broker).credentials

    assert (database.username, database.password) == ("us:er", password)
    assert (database.host, database.port, database.database) == ("h", 1, "d")
    assert (unquote(parts.username or ""), unquote(parts.password or "")) == ("us:er", password)
    assert (credentials.username, credentials.password) == ("us:er", password)
    assert pika.URLParameters(broker).virtual_host == "/a/b"


@pytest.mark.parametrize(
    ("setting", "url"),
    [
        ("FARMGATE_BROKER_URL", f"amqp://user:{SECRET}@host/"),
        ("FARMGATE_BROKER_URL", "amqp://user:secret@host:port/"),
        ("FARMGATE_BROKER_URL", "amqp://user:secret@host/a/b"),
        ("FARMGATE_BROKER_URL", "http://user:secret@host"),
        ("FARMGATE_BROKER_URL", "user:secret@host"),
        ("FARMGATE_ORDERS_BROKER_URL", "amqp://user:secret@ho st/"),
        ("FARMGATE_ORDERS_BROKER_URL", "amqp://user:secret@[::1/"),
        ("FARMGATE_ORDERS_DATABASE_URL", f"postgresql+psycopg://user:{SECRET}@host:5432/orders"),
        ("FARMGATE_ORDERS_DATABASE_URL", "postgresql+psycopg://user:secret@host:port/orders"),
        ("FARMGATE_ORDERS_DATABASE_URL", "mysql://user:secret@host/orders"),
        ("FARMGATE_ORDERS_DATABASE_URL", "/srv/orders.db"),
    ],
)
def test_an_address_that_cannot_be_read_is_refused_by_its_setting_and_not_shown(
    setting: str, url: str
) -> None:
    with pytest.raises(Misconfigured, match=setting) as refused:
        Settings.from_environment("orders", {setting: url})

    assert "%40" in refused.value.detail
    assert "secret" not in refused.value.detail
    assert SECRET not in refused.value.detail


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://orders:p%40s@db1.lan:5432/orders",
        "postgresql+psycopg://orders:p/w#x@[::1]:5432/orders?sslmode=require",
        "postgresql+psycopg://orders:p@/orders?host=db1:5432&host=db2&target_session_attrs=read-write",
        "postgresql+psycopg:///orders?host=/var/run/postgresql",
        "sqlite:////srv/a%20b/orders.db",
        "sqlite://",
    ],
)
def test_addresses_of_databases_that_sqlalchemy_reads_are_taken(url: str) -> None:
    settings = Settings.from_environment("orders", {"FARMGATE_ORDERS_DATABASE_URL": url})

    assert make_url(settings.database_url)


@pytest.mark.parametrize(
    "url",
    ["amqp://guest:guest@127.0.0.1", "amqps://u:p@mq.lan:5671/%2F?heartbeat=5", "amqp://[::1]/a"],
)
def test_addresses_of_brokers_that_pika_reads_are_taken(url: str) -> None:
    settings = Settings.from_environment("orders", {"FARMGATE_BROKER_URL": url})

    assert pika.URLParameters(settings.broker_url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "farmgate.lan",
        "ftp://farmgate.lan",
        "http://",
        "http://a b",
        "http://h:x",
        "http://h/#a",
        "http://h?a=1",
    ],
)
def test_an_http_address_that_cannot_be_read_is_refused_by_its_setting(url: str) -> None:
    with pytest.raises(Misconfigured, match="FARMGATE_URL"):
        addresses.check_http("FARMGATE_URL", url)


@pytest.mark.parametrize(
    ("host", "shown"),
    [("0.0.0.0", "127.0.0.1:8000"), ("::", "[::1]:8000"), ("::1", "[::1]:8000"), ("h", "h:8000")],
)
def test_a_server_is_reached_at_an_address_that_can_be_read(host: str, shown: str) -> None:
    place = addresses.host_and_port(addresses.reachable(host), 8000)

    assert place == shown
    assert urlsplit(addresses.check_http("X", f"http://{place}/")).port == 8000


def test_migrations_are_found_where_a_folder_has_a_percent_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "folder", lambda service: tmp_path / "a%20b")

    config = migrations.config_of("orders")

    assert config.get_main_option("script_location") == str(tmp_path / "a%20b")
