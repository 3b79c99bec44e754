"""The private networks that webhooks may reach: none, unless the operator names them."""

import ipaddress
from collections.abc import Mapping

from shared.runtime.config import read
from shared.runtime.errors import Misconfigured

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SETTING = "FARMGATE_WEBHOOK_NETWORKS"


def networks_of(environment: Mapping[str, str]) -> tuple[Network, ...]:
    """Read the networks, such as `10.8.0.0/16 127.0.0.1/32`.

    Raises:
        Misconfigured: one is no network.
    """
    given = read(environment, SETTING, "").replace(",", " ").split()
    try:
        return tuple(ipaddress.ip_network(each) for each in given)
    except ValueError as error:
        raise Misconfigured(
            f"{SETTING} must be networks with a space between, such as 10.8.0.0/16: {error}."
        ) from error
