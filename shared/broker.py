"""How a service's processes connect to the broker: the patience they have with it."""

import pika

#: Seconds after which a connection that says nothing is taken for dead, by either side. An
#: address that ends in `?heartbeat=…` says otherwise.
HEARTBEAT = 30
#: Seconds to wait for the broker's answer to anything.
IO_TIMEOUT = 10


def parameters_of(url: str) -> pika.URLParameters:
    """Return how pika connects to `url`: once, without waiting for ever."""
    parameters = pika.URLParameters(url)
    if parameters.heartbeat is None:
        parameters.heartbeat = HEARTBEAT
    parameters.socket_timeout = parameters.stack_timeout = IO_TIMEOUT
    parameters.connection_attempts = 1
    return parameters
