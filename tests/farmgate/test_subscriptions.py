"""What the topology's keeper knows of the services, and how little it loads for that."""

import subprocess
import sys

from farmgate import subscriptions
from farmgate.services import NAMES, service_of
from shared.messaging.topology import topology_of


def test_asked_in_another_process_the_services_say_what_they_say_here():
    assert topology_of(subscriptions.load()) == topology_of(list(map(service_of, NAMES)))


def test_who_keeps_the_topology_loads_no_service_and_no_database():
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, farmgate.commands.topology as _;"
            "print(*sorted({n.partition('.')[0] for n in sys.modules}))",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    loaded = set(told.stdout.split())

    assert "pika" in loaded
    assert not loaded & {"services", "sqlalchemy", "alembic", "psycopg", "flask", "joserfc"}
