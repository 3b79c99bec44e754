"""Load the services' subscriptions in a subprocess.

To import four services takes 60 MB, which a long-running process should not keep.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from farmgate.broker_users import FEEDER
from farmgate.failures import Failed
from shared.events import BY_TYPE, Fact


@dataclass(frozen=True)
class ServiceSubscriptions:
    """A service's name and the events that it gets; a `shared.messaging.topology.Subscriber`."""

    name: str
    subscriptions: Mapping[type[Fact], None]

    @property
    def feeds_queues(self) -> bool:
        """Whether it feeds integrators' queues."""
        return self.name == FEEDER


def load() -> list[ServiceSubscriptions]:
    """Return the subscriptions of all services.

    Raises:
        Failed: a service cannot be loaded.
    """
    done = subprocess.run(
        [sys.executable, "-m", "farmgate.subscriptions"], stdout=subprocess.PIPE, check=False
    )
    if done.returncode != 0:
        raise Failed("The services' subscriptions cannot be loaded; the lines above say why.")
    return [
        ServiceSubscriptions(name, {BY_TYPE[type_]: None for type_ in types})
        for name, types in json.loads(done.stdout).items()
    ]


def routing_keys() -> dict[str, list[str]]:
    """Return the event types that each service subscribes to."""
    # Imported here, so that only the subprocess loads the services.
    from farmgate.services import NAMES, service_of

    return {
        service.name: [contract.routing_key for contract in service.subscriptions]
        for service in map(service_of, NAMES)
    }


if __name__ == "__main__":
    print(json.dumps(routing_keys()))
