"""The doctor names what is wrong and what to do."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pika
import psycopg
import pytest
from click.testing import Result
from sqlalchemy import update
from sqlalchemy.engine import make_url

from farmgate import doctor
from farmgate.management import management_of
from farmgate.services import NAMES, service_of
from services.notifications.models import Message, QueueFeed
from shared.messaging import topology
from shared.messaging.tables import Outbox, Parked
from shared.runtime import clock, keys
from shared.runtime.database import Database
from shared.runtime.ids import new_id
from shared.runtime.migrations import upgrade
from tests.support.feeding import feeds_on
from tests.support.servers import RabbitMQ, wait_until

Farmgate = Callable[..., Result]


def findings_of(data: Path, **settings: str) -> dict[str, doctor.Finding]:
    environment = {"FARMGATE_DATA": str(data), "FARMGATE_URL": "http://127.0.0.1:9", **settings}
    return {finding.check: finding for finding in doctor.examine(environment)}


def test_an_empty_folder_is_told_what_to_run(tmp_path: Path) -> None:
    found = findings_of(tmp_path)

    assert not found["signing key"].ok
    assert found["catalog: database"].detail.endswith("run: farmgate migrate catalog")
    assert found["orders: answers"].detail.endswith("run: farmgate up")
    assert not (tmp_path / "catalog.db").exists()


def test_a_database_that_cannot_be_migrated_is_told_so_and_not_to_migrate(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "orders.db")) as database, database:
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        database.execute("INSERT INTO alembic_version VALUES ('0007')")

    detail = findings_of(tmp_path)["orders: database"].detail

    assert "made before Farmgate 0.2.0 (revision 0007)" in detail
    assert "farmgate migrate" not in detail


def test_what_is_in_place_is_well(tmp_path: Path) -> None:
    keys.ensure(tmp_path)
    upgrade("catalog", f"sqlite:///{tmp_path / 'catalog.db'}")

    found = findings_of(tmp_path)

    for check in ("disk", "signing key", "payment secret", "catalog: token keys"):
        assert found[check].ok, found[check]
    assert found["catalog: database"].ok
    assert found["catalog: events"].detail == "none waits to be published, none is parked"


def test_a_key_that_others_can_read_is_wrong(tmp_path: Path) -> None:
    keys.ensure(tmp_path)
    (tmp_path / "keys" / "signing.json").chmod(0o644)

    assert "chmod 600" in findings_of(tmp_path)["signing key"].detail


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    found = findings_of(tmp_path, FARMGATE_OUTBOX_DAYS="many")

    assert "FARMGATE_OUTBOX_DAYS" in found["catalog: settings"].detail


def test_a_database_that_is_away_is_named_without_its_password(tmp_path: Path) -> None:
    url = "postgresql+psycopg://farmgate:secret@127.0.0.1:9/catalog"

    found = findings_of(tmp_path, FARMGATE_CATALOG_DATABASE_URL=url)

    finding = found["catalog: database"]
    assert not finding.ok
    assert "FARMGATE_CATALOG_DATABASE_URL" in finding.detail
    assert "secret" not in finding.detail


def test_a_broker_that_is_away_is_named_without_its_password(tmp_path: Path) -> None:
    found = findings_of(tmp_path, FARMGATE_BROKER_URL="amqp://orders:secret@127.0.0.1:9/")

    assert not found["broker amqp://orders:***@127.0.0.1:9/"].ok
    assert not found["topology"].ok
    assert "secret" not in "".join(finding.detail for finding in found.values())


def test_the_exit_code_is_1_when_something_is_wrong(farmgate: Farmgate) -> None:
    result = farmgate("doctor", "--json")

    assert result.exit_code == 1
    assert any(not finding["ok"] for finding in json.loads(result.output))


def test_a_late_event_and_a_parked_one_are_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'catalog.db'}"
    upgrade("catalog", url)
    database = Database(url)
    event = {"type": "catalog.lot_held.v1", "subject": f"lot/{new_id()}", "body": b"{}"}
    moment = clock.now() - timedelta(seconds=100)
    with database.sessions.begin() as session:
        session.add(
            Outbox(event_id=new_id(), sequence=1, correlation_id="c", recorded_at=moment, **event)
        )

    late = findings_of(tmp_path)["catalog: events"]
    with database.sessions.begin() as session:
        session.add(
            Parked(
                event_id=new_id(),
                arrival=1,
                publisher="catalog",
                reason="handler_failed",
                attempts=12,
                first_failed_at=moment,
                state="dead",
                **event,
            )
        )
    parked = findings_of(tmp_path)["catalog: events"]
    database.close()

    assert "the oldest waits for 100 s to be published" in late.detail
    assert parked.detail.startswith("parked: 1 dead")
    assert not late.ok
    assert not parked.ok


def test_what_waits_too_long_is_counted_and_the_first_can_be_traced(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'notifications.db'}"
    upgrade("notifications", url)
    assert findings_of(tmp_path)["notifications: late"].ok
    order_ids = [new_id(), new_id()]
    database = Database(url)
    for hours, order_id in enumerate(order_ids, 1):
        since = clock.now() - timedelta(hours=hours)
        with database.sessions.begin() as session:
            session.add(
                Message(
                    id=new_id(),
                    cause_id=new_id(),
                    recipient=f"order:{order_id}",
                    template="order_confirmed",
                    order_id=order_id,
                    facts={},
                    status="queued",
                    happened_at=since,
                    due_at=since,
                )
            )
    database.close()

    found = findings_of(tmp_path)["notifications: late"]
    wrong = findings_of(tmp_path, FARMGATE_NOTIFICATIONS_LATE_SECONDS="soon")

    assert not found.ok
    assert found.detail.startswith("2 unsent, the first since 20")
    assert f"farmgate trace {order_ids[1]}" in found.detail
    assert not wrong["notifications: late"].ok
    assert "FARMGATE_NOTIFICATIONS_LATE_SECONDS" in wrong["notifications: late"].detail


@pytest.mark.postgres
def test_a_database_whose_clock_is_wrong_is_told(
    tmp_path: Path, postgres: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres("catalog")
    upgrade("catalog", url)
    assert findings_of(tmp_path, FARMGATE_CATALOG_DATABASE_URL=url)["catalog: clock"].ok
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() - timedelta(minutes=1))

    found = findings_of(tmp_path, FARMGATE_CATALOG_DATABASE_URL=url)["catalog: clock"]

    assert not found.ok
    assert "+60 s from ours" in found.detail


@pytest.mark.broker
def test_a_queue_without_a_consumer_and_dead_letters_are_told(
    tmp_path: Path, broker: RabbitMQ, vhost: str
) -> None:
    topology.declare(vhost, [service_of(name) for name in NAMES])
    alone = findings_of(tmp_path, FARMGATE_BROKER_URL=vhost)["orders: queue"]
    connection = pika.BlockingConnection(pika.URLParameters(vhost))
    channel = connection.channel()
    channel.basic_consume(topology.queue_of("orders"), lambda *_: None)
    served = findings_of(tmp_path, FARMGATE_BROKER_URL=vhost)["orders: queue"]
    channel.confirm_delivery()
    channel.basic_publish("", topology.dead_queue_of("orders"), b"x", mandatory=True)
    dead = findings_of(tmp_path, FARMGATE_BROKER_URL=vhost)["orders: queue"]
    connection.close()

    assert (
        "0 events wait, and no consumer is connected; start `farmgate worker orders`"
        in alone.detail
    )
    assert served.ok, served.detail
    assert dead.detail.startswith("1 in orders.events.dead")


@pytest.mark.broker
def test_integrators_queues_that_are_full_or_stand_still_are_told_with_what_to_do(
    tmp_path: Path, vhost: str
) -> None:
    with feeds_on(vhost, tmp_path) as feeds:
        feeds.add("integrator.shop", "A shop", max_bytes=1000)

        def told(**state: Any) -> doctor.Finding:
            state = {"looked_at": clock.now(), "moved_at": clock.now()} | state
            with feeds.database.sessions.begin() as session:
                session.execute(update(QueueFeed).values(state))
            return findings_of(tmp_path, FARMGATE_BROKER_URL=vhost)["integrators' queues"]

        well = told()
        full = told(waiting=3, waiting_bytes=801, consumers=1)
        still = told(moved_at=clock.now() - timedelta(hours=2))
        missing = told(outcome="missing")
        silent = told(looked_at=clock.now() - timedelta(hours=1))

    assert well.ok, well.detail
    assert "integrator.shop is 80% full (1 consumers): its partner A shop" in full.detail
    assert "stands still: nobody took one of its 3 events for 2.0 h" in still.detail
    assert missing.detail == "integrator.shop is missing; run: farmgate topology"
    assert "start `farmgate worker notifications`" in silent.detail


@pytest.mark.broker
@pytest.mark.harms_broker
def test_alarms_of_the_broker_are_told(tmp_path: Path, broker: RabbitMQ, vhost: str) -> None:
    """Slow: the management API tells every 5 s what the nodes last counted."""
    url = {"FARMGATE_BROKER_URL": vhost, "FARMGATE_BROKER_MANAGEMENT_URL": broker.management_url}
    management = management_of(url)

    def alarms() -> list[bool]:
        (node,) = management.get("nodes")
        return [node.get("mem_alarm"), node.get("disk_free_alarm")]

    broker.ctl("set_vm_memory_high_watermark", "0.00001")
    broker.ctl("set_disk_free_limit", "900000GB")
    try:
        wait_until(lambda: all(alarms()), 60, "both alarms")
        found = findings_of(tmp_path, **url)["broker's alarms"]
    finally:
        broker.ctl("set_vm_memory_high_watermark", "0.6")
        broker.ctl("set_disk_free_limit", "50MB")

    assert "MB of memory" in found.detail
    assert "GB free" in found.detail
    assert "no event is published" in found.detail
    wait_until(lambda: not any(alarms()), 60, "it is over")
    assert findings_of(tmp_path, **url)["broker's alarms"].ok


def test_alarms_that_cannot_be_asked_for_are_no_alarm(tmp_path: Path) -> None:
    found = findings_of(tmp_path, FARMGATE_BROKER_URL="amqp://guest:guest@127.0.0.1:9/")

    assert found["broker's alarms"].ok
    assert "rabbitmq-diagnostics alarms" in found["broker's alarms"].detail


@pytest.mark.postgres
def test_a_database_that_only_reads_is_told(tmp_path: Path, postgres: Callable[[str], str]) -> None:
    url = postgres("catalog")
    upgrade("catalog", url)
    assert findings_of(tmp_path, FARMGATE_CATALOG_DATABASE_URL=url)["catalog: writes"].ok

    address = make_url(url)
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(
            f'ALTER DATABASE "{address.database}" SET default_transaction_read_only = on'
        )

    found = findings_of(tmp_path, FARMGATE_CATALOG_DATABASE_URL=url)["catalog: writes"]

    assert not found.ok
    assert "read-only" in found.detail
