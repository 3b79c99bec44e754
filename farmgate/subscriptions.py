"""What each service listens to, asked of the services in a process of its own.

Four services take 60 MB, which whoever asks and then stays would keep for ever.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from farmgate.failures import Failed
from shared.events import BY_TYPE, Fact


@dataclass(frozen=True)
class ServiceSubscriptions:
    """A service's name and the events that it gets: a `shared.messaging.topology.Subscriber`."""

    name: str
    subscriptions: Mapping[type[Fact], None]


def load() -> list[ServiceSubscriptions]:
    """Return what all services listen to.

    Raises:
        Failed: a service cannot be loaded.
    """
    done = subprocess.run(
        [sys.executable, "-m", "farmgate.subscriptions"], stdout=subprocess.PIPE, check=False
    )
    if done.returncode != 0:
        raise Failed("What the services listen to cannot be told; the lines above say why.")
    return [
        ServiceSubscriptions(name, {BY_TYPE[type_]: None for type_ in types})
        for name, types in json.loads(done.stdout).items()
    ]


def routing_keys() -> dict[str, list[str]]:
    """Return the event types that each service subscribes to."""
    # Here, and only in the process that ends at once.
    from farmgate.services import NAMES, service_of

    return {
        service.name: [contract.routing_key for contract in service.subscriptions]
        for service in map(service_of, NAMES)
    }


if __name__ == "__main__":
    print(json.dumps(routing_keys()))
