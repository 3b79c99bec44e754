"""Declare the topology of all services at the broker; errors say what to do."""

from collections.abc import Mapping

from pika.exceptions import AMQPError

from farmgate.broker_address import topology_url
from farmgate.failures import Failed, Unreachable
from farmgate.integrators import list_integrators
from farmgate.management import management_of
from farmgate.services import NAMES, service_of
from shared.messaging import topology


def declare_topology(environment: Mapping[str, str], *, prune: bool = False) -> list[str]:
    """Declare exchange, queues and bindings; return one line for each change.

    Integrators' queues are declared, too, if the broker's management API can be asked for them.

    Raises:
        Failed: no broker is set.
        Unreachable: the broker refused or does not answer.
    """
    url = topology_url(environment)
    try:
        integrators, notes = list_integrators(management_of(environment)), []
    except (Failed, Unreachable) as error:
        integrators, notes = [], [f"integrators' queues were not checked: {error.message}"]
    try:
        services = [service_of(name) for name in NAMES]
        return topology.declare(url, services, integrators, prune=prune) + notes
    except (AMQPError, OSError) as error:
        raise Unreachable(
            f"The broker refused or cannot be reached: {error!r}. Check the address in "
            "FARMGATE_TOPOLOGY_BROKER_URL or FARMGATE_BROKER_URL, and its user's rights."
        ) from error
