"""`farmgate integrators`: who gets order events, and what the broker knows of them afterwards."""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pika
import pytest
import requests
from pika.exceptions import ChannelClosedByBroker, ProbableAuthenticationError

from farmgate import broker_users
from farmgate.broker_inspector import ManagementInspector
from farmgate.feed_database import opened
from farmgate.integrators import list_integrators
from farmgate.management import management_of
from farmgate.services import NAMES
from services.notifications.models import QueueFeed, Subscription
from services.notifications.use_cases import feed
from shared.events import BY_TYPE
from shared.messaging import topology
from shared.messaging.reconciler import CompleteBindings
from shared.runtime.clock import now
from tests.farmgate.conftest import Farmgate, added, connect
from tests.support.feeding import take_one
from tests.support.servers import RabbitMQ

PAID, PLACED = "orders.order_paid.v1", "orders.order_placed.v1"


@pytest.fixture
def api(broker: RabbitMQ, vhost: str) -> Callable[..., Any]:
    """Ask the management API, in this test's virtual host."""
    base = broker.management_url

    def get(path: str) -> Any:
        host = vhost.rpartition("/")[2]
        answer = requests.get(f"{base}/api/{path.replace('VHOST', host)}", timeout=30)
        return answer.json() if answer.ok else None

    return get


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The settings by which notifications' database is found."""
    url = f"sqlite:///{tmp_path}/notifications.db"
    return {"FARMGATE_DATA": str(tmp_path), "FARMGATE_NOTIFICATIONS_DATABASE_URL": url}


def bound(api: Callable[..., Any], queue: str) -> set[tuple[str, str]]:
    """Return exchange and key of each binding, but for the default exchange's."""
    rows = api(f"queues/VHOST/{queue}/bindings")
    return {(row["source"], row["routing_key"]) for row in rows if row["source"]}


def put_in(vhost: str, queue: str, count: int = 1) -> None:
    """Publish messages to an integrator's queue as the feeder does."""
    with pika.BlockingConnection(pika.URLParameters(vhost)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for _ in range(count):
            channel.basic_publish(topology.INTEGRATORS, queue, b"{}", mandatory=True)


@pytest.mark.broker
def test_an_integrator_gets_a_queue_that_only_its_feed_fills_and_a_user_that_reads_it(
    integrators: Farmgate, name: str, vhost: str, api: Callable[..., Any]
) -> None:
    told = added(integrators, name)

    assert (told["queue"], told["user"]) == (f"integrator.{name}", f"integrator-{name}")
    assert bound(api, told["queue"]) == {(topology.INTEGRATORS, told["queue"])}
    assert PAID in told["events"] and all(BY_TYPE[type_].public for type_ in told["events"])
    queue = api(f"queues/VHOST/{told['queue']}")
    assert queue["durable"]
    assert queue["arguments"] == {
        "x-queue-type": "quorum",
        "x-single-active-consumer": True,
        "x-overflow": "reject-publish",
        "x-max-length-bytes": 104_857_600 - topology.OVERSHOOT_BYTES,
        "x-delivery-limit": 1_000_000,
    }
    rights = api(f"users/{told['user']}/permissions")
    assert [(row["configure"], row["write"]) for row in rights] == [("^$", "^$")]
    assert api(f"users/{told['user']}")["tags"] in ([], "")
    put_in(vhost, told["queue"])
    with connect(vhost, told["user"], told["password"]) as connection:
        assert take_one(connection.channel(), told["queue"])[2] == b"{}"


@pytest.mark.broker
def test_patterns_choose_among_the_events(integrators: Farmgate, name: str) -> None:
    told = added(integrators, name, "--events", "orders.order_p*", "--events", PAID)

    assert set(told["events"]) == {PAID, PLACED}


@pytest.mark.broker
@pytest.mark.parametrize(
    "pattern", ["orders.contact_given.v1", "orders.order_flown.v1", "#", "*contact*"]
)
def test_what_is_internal_or_unknown_is_refused(
    integrators: Farmgate, name: str, pattern: str, api: Callable[..., Any]
) -> None:
    done = integrators("add", name, "--events", PAID, "--events", pattern)

    assert done.exit_code == 1
    assert f"{pattern} matches no event type" in done.output
    assert api(f"users/integrator-{name}") is None
    assert api(f"queues/VHOST/integrator.{name}") is None


@pytest.mark.broker
def test_one_that_exists_is_left_alone_and_says_how_to_change_its_password(
    integrators: Farmgate, name: str, vhost: str
) -> None:
    told = added(integrators, name)

    done = integrators("add", name)

    assert done.exit_code == 1
    assert "exists" in done.output and "--new-password" in done.output
    connect(vhost, told["user"], told["password"]).close()


@pytest.mark.broker
def test_a_new_password_stops_the_old_one_and_keeps_what_waits(
    integrators: Farmgate, name: str, vhost: str
) -> None:
    old = added(integrators, name, "--events", PAID)
    put_in(vhost, old["queue"])
    opened = connect(vhost, old["user"], old["password"])

    new = added(integrators, name, "--new-password")

    assert new["events"] == [PAID]
    with pytest.raises(pika.exceptions.AMQPError):
        opened.process_data_events(time_limit=60)
    with pytest.raises(ProbableAuthenticationError):
        connect(vhost, old["user"], old["password"])
    with connect(vhost, new["user"], new["password"]) as connection:
        assert take_one(connection.channel(), new["queue"])[2] == b"{}"


@pytest.mark.broker
def test_with_a_new_password_other_events_may_be_named(integrators: Farmgate, name: str) -> None:
    added(integrators, name, "--events", PAID)

    told = added(integrators, name, "--new-password", "--events", PLACED)

    assert told["events"] == [PLACED]


@pytest.mark.broker
def test_a_new_password_of_nobody_is_refused(integrators: Farmgate, name: str) -> None:
    done = integrators("add", name, "--new-password")

    assert done.exit_code == 1
    assert f"There is no integrator {name}" in done.output


@pytest.mark.broker
@pytest.mark.parametrize("lacks", ["its user", "its rights"])
def test_one_that_was_made_by_half_is_finished_by_the_next_try(
    integrators: Farmgate, name: str, vhost: str, broker: RabbitMQ, lacks: str
) -> None:
    told = added(integrators, name, "--events", PAID)
    if lacks == "its user":
        broker.ctl("delete_user", told["user"])
    else:
        broker.ctl("clear_permissions", "-p", vhost.rpartition("/")[2], told["user"])

    again = added(integrators, name)

    assert again["events"] == [PAID]
    with connect(vhost, again["user"], again["password"]) as connection:
        take_one(connection.channel(), again["queue"], within=0.1)


@pytest.mark.broker
def test_the_user_of_another_virtual_host_is_left_alone(
    integrators: Farmgate, name: str, broker: RabbitMQ
) -> None:
    broker.ctl("add_user", f"integrator-{name}", "theirs")

    done = integrators("add", name)

    assert done.exit_code == 1
    assert "exists" in done.output
    broker.ctl("authenticate_user", f"integrator-{name}", "theirs")


@pytest.mark.broker
def test_a_password_file_is_new_and_for_its_owner_only(
    integrators: Farmgate, name: str, vhost: str, tmp_path: Path, api: Callable[..., Any]
) -> None:
    there, file = tmp_path / "there", tmp_path / "password"
    there.write_text("mine")

    refused = integrators("add", name, "--password-file", str(there))
    assert refused.exit_code == 1
    assert there.read_text() == "mine"
    assert api(f"users/integrator-{name}") is None

    told = added(integrators, name, "--password-file", str(file))
    assert "password" not in told
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    connect(vhost, told["user"], file.read_text().strip()).close()


@pytest.mark.broker
def test_people_are_told_what_an_integrator_needs(integrators: Farmgate, name: str) -> None:
    output = integrators("add", name).output

    assert f"integrator.{name}" in output and f"integrator-{name}" in output
    assert "shown only now" in output and PAID in output


@pytest.mark.broker
def test_the_list_says_what_waits_for_whom(integrators: Farmgate, name: str, vhost: str) -> None:
    assert "farmgate integrators add" in integrators("list").output
    told = added(integrators, name, "--partner", "A shop", "--max-megabytes", "2")
    put_in(vhost, told["queue"], 2)

    assert json.loads(integrators("list", "--json").stdout) == [
        {
            "name": name,
            "queue": told["queue"],
            "partner": "A shop",
            "in_feed": 0,
            "max_bytes": 2_097_152,
            "messages": 2,
            "consumers": 0,
        }
    ]
    assert name in integrators("list").output


@pytest.mark.broker
def test_removing_says_what_is_dropped_and_asks(
    integrators: Farmgate, name: str, vhost: str, api: Callable[..., Any]
) -> None:
    told = added(integrators, name)
    put_in(vhost, told["queue"], 2)

    kept = integrators("remove", name, input="n\n")
    assert kept.exit_code == 1
    assert f"drops 2 messages that wait in {told['queue']}" in kept.output
    assert api(f"queues/VHOST/{told['queue']}") is not None

    done = integrators("remove", name, input="y\n")
    assert done.exit_code == 0
    assert "2 messages" in done.output
    assert api(f"queues/VHOST/{told['queue']}") is None
    assert api(f"users/{told['user']}") is None
    assert json.loads(integrators("list", "--json").stdout) == []
    assert integrators("remove", name, "--yes").exit_code == 1


@pytest.mark.broker
def test_one_of_another_virtual_host_is_not_removed(
    integrators: Farmgate,
    name: str,
    broker: RabbitMQ,
    vhost: str,
    api: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = added(integrators, name)
    monkeypatch.setenv("FARMGATE_BROKER_URL", broker.url())

    done = integrators("remove", name, "--yes")

    assert done.exit_code == 1
    assert f"belongs to virtual host {vhost.rpartition('/')[2]}" in done.output
    assert api(f"users/{told['user']}") is not None
    assert api(f"global-parameters/{told['queue']}") is not None


@pytest.mark.broker
def test_a_queue_is_fed_again_since_a_moment_and_it_is_recorded(
    integrators: Farmgate, name: str, environment: dict[str, str]
) -> None:
    added(integrators, name)
    with opened(environment) as batch:
        queue = batch.session.get_one(QueueFeed, f"integrator.{name}")
        subscription = batch.session.get_one(Subscription, queue.subscription_id)
        subscription.last_position = queue.position = 7

    done = integrators("replay", name, "--all", "--json")

    assert json.loads(done.stdout) == {"name": name, "events": 7, "first_position": 1}
    with opened(environment) as batch:
        assert batch.session.get_one(QueueFeed, f"integrator.{name}").position == 0
        actions = [each.action for each in feed.list_actions(batch.session, limit=10).items]
    assert actions[0] == "queue_replayed"
    assert integrators("replay", name).exit_code == 2
    assert "No partner's feed" in integrators("replay", "nobody", "--all").output


@pytest.mark.broker
def test_another_partners_feed_is_assigned_to_the_queue(
    integrators: Farmgate, name: str, environment: dict[str, str]
) -> None:
    added(integrators, name)

    done = integrators("assign", name, "--partner", "another")

    assert done.exit_code == 0, done.output
    (row,) = json.loads(integrators("list", "--json").stdout)
    assert row["partner"] == "another"


@pytest.mark.broker
def test_a_queue_of_an_older_version_is_replaced_when_it_is_empty(
    integrators: Farmgate, name: str, vhost: str, api: Callable[..., Any]
) -> None:
    queue = added(integrators, name)["queue"]
    with pika.BlockingConnection(pika.URLParameters(vhost)) as connection:
        channel = connection.channel()
        channel.queue_delete(queue)
        older = {"x-queue-type": "quorum", "x-overflow": "drop-head"}
        channel.queue_declare(queue, durable=True, arguments=older)
        channel.queue_bind(queue, topology.EXCHANGE, PAID)
        channel.confirm_delivery()
        channel.basic_publish(topology.EXCHANGE, PAID, b"{}")

    kept = integrators("assign", name)
    assert kept.exit_code == 1
    assert "1 messages" in kept.output and "disconnect" in kept.output
    assert bound(api, queue) == set()
    with pika.BlockingConnection(pika.URLParameters(vhost)) as connection:
        assert connection.channel().basic_get(queue, auto_ack=True)[2] == b"{}"

    assert integrators("assign", name).exit_code == 0
    assert bound(api, queue) == {(topology.INTEGRATORS, queue)}


@pytest.mark.parametrize("wrong", ["Shop", "a.b", "-a", "", "a" * 60, "a*"])
def test_a_name_that_no_queue_may_have_is_wrong_usage(farmgate: Farmgate, wrong: str) -> None:
    assert farmgate("integrators", "add", "--", wrong).exit_code == 2


def test_without_a_broker_it_says_what_to_set(farmgate: Farmgate) -> None:
    done = farmgate("integrators", "list")

    assert done.exit_code == 1
    assert "FARMGATE_BROKER_URL" in done.output


def test_of_a_broker_at_another_port_the_management_api_is_not_guessed(
    farmgate: Farmgate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARMGATE_BROKER_URL", "amqp://guest:guest@127.0.0.1:5673/%2F")

    done = farmgate("integrators", "list")

    assert done.exit_code == 1
    assert "FARMGATE_BROKER_MANAGEMENT_URL" in done.output


def test_where_the_management_api_is(tmp_path: Path) -> None:
    environment = {
        "FARMGATE_BROKER_URL": "amqp://orders:o@mq:5672/%2F",
        "FARMGATE_TOPOLOGY_BROKER_URL": "amqp://topology:a%2Fb@mq/farm",
        "FARMGATE_DATA": str(tmp_path),
    }
    guessed = management_of(environment)
    assert (guessed.base, guessed.user, guessed.vhost) == ("http://mq:15672", "topology", "farm")

    (tmp_path / "broker_management_url").write_text("http://operator:x@mq:15672\n")
    assert management_of(environment).user == "operator"

    environment["FARMGATE_BROKER_MANAGEMENT_URL"] = "https://boss:x@front:443/rabbit/"
    named = management_of(environment)
    assert (named.base, named.user) == ("https://front:443/rabbit", "boss")


@pytest.mark.broker
def test_a_user_who_may_not_manage_is_told_what_it_lacks(
    integrators: Farmgate, name: str, broker: RabbitMQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = broker.management_url.replace("guest:guest", "guest:wrong")
    monkeypatch.setenv("FARMGATE_BROKER_MANAGEMENT_URL", address)

    done = integrators("add", name)

    assert done.exit_code == 1
    assert "administrator" in done.output


@pytest.mark.broker
def test_a_management_api_that_is_away_is_exit_code_3(
    integrators: Farmgate, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARMGATE_BROKER_MANAGEMENT_URL", "http://guest:guest@127.0.0.1:9")

    done = integrators("add", name)

    assert done.exit_code == 3
    assert "rabbitmq_management" in done.output


@pytest.mark.broker
def test_a_deployments_own_users_suffice(
    integrators: Farmgate,
    name: str,
    broker: RabbitMQ,
    vhost: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    users = (*NAMES, broker_users.TOPOLOGY, broker_users.OPERATOR)
    told = broker_users.definitions({user: f"{user}-password" for user in users})
    place = vhost.rpartition("/")[2]
    for row in (*told["permissions"], *told["topic_permissions"]):
        row["vhost"] = place
    (tmp_path / "definitions.json").write_text(json.dumps(told))
    broker.ctl("import_definitions", str(tmp_path / "definitions.json"))
    as_topology = vhost.replace("guest:guest", "topology:topology-password")
    manage = broker.management_url
    monkeypatch.setenv("FARMGATE_BROKER_URL", as_topology)
    monkeypatch.setenv(
        "FARMGATE_BROKER_MANAGEMENT_URL",
        manage.replace("guest:guest", "operator:operator-password"),
    )
    try:
        made = added(integrators, name)
        # The keeper's user sees who there is; it may not make users.
        seen = {
            "FARMGATE_BROKER_URL": as_topology,
            "FARMGATE_BROKER_MANAGEMENT_URL": manage.replace(
                "guest:guest", "topology:topology-password"
            ),
        }
        keeper = ManagementInspector(seen)
        assert [one.name for one in keeper.integrators()] == [name]
        # It sees what is bound, and keeps its own memory.
        bound = keeper.bindings()
        assert bound is not None
        assert PAID in bound["notifications.events"]
        whole = CompleteBindings(bound, now())
        keeper.save(whole)
        assert keeper.load() == whole
        monkeypatch.setenv("FARMGATE_BROKER_MANAGEMENT_URL", seen["FARMGATE_BROKER_MANAGEMENT_URL"])
        assert integrators("add", f"{name}-2").exit_code == 1
        # Notifications feeds the queue and counts what waits in it; no other service can.
        with connect(vhost, "notifications", "notifications-password") as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            channel.basic_publish(topology.INTEGRATORS, made["queue"], b"{}", mandatory=True)
            assert topology.look_for(connection, made["queue"]) is not None
        with connect(vhost, "orders", "orders-password") as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            with pytest.raises(ChannelClosedByBroker, match="403"):
                channel.basic_publish(topology.INTEGRATORS, made["queue"], b"{}")
        with connect(vhost, "operator", "operator-password") as connection:
            for queue in (made["queue"], "orders.events"):
                with pytest.raises(ChannelClosedByBroker, match="403"):
                    connection.channel().basic_get(queue)
    finally:
        for user in users:
            broker.ctl("delete_user", user)


@pytest.mark.broker
def test_only_those_of_ones_own_virtual_host_are_seen(
    integrators: Farmgate, name: str, broker: RabbitMQ, vhost: str
) -> None:
    added(integrators, name)
    elsewhere = {
        "FARMGATE_BROKER_URL": broker.url(),
        "FARMGATE_BROKER_MANAGEMENT_URL": broker.management_url,
    }

    assert list_integrators(management_of(elsewhere)) == []
    assert [
        one.name
        for one in list_integrators(management_of(elsewhere | {"FARMGATE_BROKER_URL": vhost}))
    ]
