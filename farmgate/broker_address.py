"""The URL of the broker at which the topology is declared."""

from collections.abc import Mapping

from farmgate.failures import Failed
from shared.runtime import addresses
from shared.runtime.config import read


def broker_of(environment: Mapping[str, str]) -> str:
    """Return the broker's URL for declaring the topology; "" if none is set."""
    for name in ("FARMGATE_TOPOLOGY_BROKER_URL", "FARMGATE_BROKER_URL"):
        if url := read(environment, name, ""):
            return addresses.check_broker(name, url)
    return ""


def topology_url(environment: Mapping[str, str]) -> str:
    """Return the broker's URL for declaring the topology.

    Raises:
        Failed: no broker is set.
    """
    url = broker_of(environment)
    if not url:
        raise Failed(
            "Set FARMGATE_TOPOLOGY_BROKER_URL or FARMGATE_BROKER_URL; embedded mode has no broker "
            "and needs no topology."
        )
    return url
