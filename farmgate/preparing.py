"""What must be done once before processes start: databases and topology, safe to repeat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pika.exceptions import AMQPError

from farmgate.failures import Failed, Unreachable
from farmgate.services import NAMES, service_of
from shared.messaging import topology
from shared.runtime import addresses
from shared.runtime.config import Settings, read

if TYPE_CHECKING:
    from shared.messaging.service import Service


def migrate(settings: Settings) -> str | None:
    """Bring a service's database to its newest revision and return that.

    Raises:
        Failed: a newer version has migrated it.
        Unreachable: the database does not answer.
    """
    # Here, since who keeps the topology needs no database.
    from alembic.util import CommandError
    from sqlalchemy.exc import OperationalError

    from shared.runtime import migrations

    name = settings.service
    try:
        migrations.upgrade(name, settings.database_url)
        present, _ = migrations.revisions(name, settings.database_url)
    except CommandError as error:
        # All that stops Alembic here, our own histories being whole.
        raise Failed(
            f"The database of {name} is of another version of Farmgate: {error}. Run the newest "
            "version that used it, or restore a backup made before the upgrade."
        ) from error
    except OperationalError as error:
        raise Unreachable(
            f"The database of {name} cannot be used: {str(error.orig).strip()}\n"
            f"Check FARMGATE_{name.upper()}_DATABASE_URL."
        ) from error
    return present


def broker_of(environment: Mapping[str, str]) -> str:
    """Return the broker's address for whoever declares the topology; "" where none is set."""
    for name in ("FARMGATE_TOPOLOGY_BROKER_URL", "FARMGATE_BROKER_URL"):
        if url := read(environment, name, ""):
            return addresses.check_broker(name, url)
    return ""


def topology_url(environment: Mapping[str, str]) -> str:
    """Return the address at which topology is declared.

    Raises:
        Failed: no broker is set.
    """
    url = broker_of(environment)
    if not url:
        raise Failed(
            "Set FARMGATE_TOPOLOGY_BROKER_URL or FARMGATE_BROKER_URL; without a broker there is "
            "nothing to declare."
        )
    return url


def all_services() -> list[Service]:
    """Return the services whose subscriptions make the topology."""
    return [service_of(name) for name in NAMES]


def declare_topology(environment: Mapping[str, str], *, prune: bool = False) -> list[str]:
    """Declare exchange, queues and bindings; return what was done, one line each.

    Integrators' queues are declared, too, where the broker's management API tells of them.

    Raises:
        Failed: no broker is set.
        Unreachable: the broker refused or does not answer.
    """
    # Here, since a service's image has no integrators and only migrates.
    from farmgate.integrators import known
    from farmgate.management import management_of

    url = topology_url(environment)
    try:
        integrators, trouble = known(management_of(environment)), []
    except (Failed, Unreachable) as error:
        integrators, trouble = [], [f"integrators' queues left as they are: {error.message}"]
    try:
        return topology.declare(url, all_services(), integrators, prune=prune) + trouble
    except (AMQPError, OSError) as error:
        raise Unreachable(
            f"The broker refused or cannot be reached: {error!r}. Check the address in "
            "FARMGATE_TOPOLOGY_BROKER_URL or FARMGATE_BROKER_URL, and its user's rights."
        ) from error
