"""How a service's processes connect to the broker: the patience they have with it.

And how both clients read a message's properties, which are its publisher's word. A header that a
client cannot read (a timestamp of the year 200000, a thousand tables within each other) would end
the connection before anybody sees the message, and again each time it comes.
"""

from typing import Any

import pika
from amqp import serialization  # type: ignore[import-untyped]

#: Seconds after which a connection that says nothing is taken for dead, by either side. An
#: address that ends in `?heartbeat=…` says otherwise.
HEARTBEAT = 30
#: Seconds to wait for the broker's answer to anything.
IO_TIMEOUT = 10


#: AMQP's number of the class of messages.
_BASIC = 60
_read_by_amqp = serialization.PROPERTY_CLASSES[_BASIC]


def _properties(buffer: Any, offset: int) -> tuple[dict[str, Any], int]:
    """Read properties for py-amqp; such as cannot be read are none."""
    try:
        properties, end = _read_by_amqp(buffer, offset)
    except Exception:
        return {}, len(buffer)
    # kombu would unpack what this header names, to whatever size.
    properties.get("application_headers", {}).pop("compression", None)
    return properties, end


class _Properties(pika.BasicProperties):
    """Properties as pika reads them; such as cannot be read are none."""

    def decode(self, encoded: bytes, offset: int = 0) -> Any:
        """Read properties from a frame."""
        try:
            return super().decode(encoded, offset)
        except Exception:
            self.__init__()  # type: ignore[misc]
            return self


serialization.PROPERTY_CLASSES[_BASIC] = _properties
pika.spec.props[_BASIC] = _Properties


def parameters_of(url: str) -> pika.URLParameters:
    """Return how pika connects to `url`: once, without waiting for ever."""
    parameters = pika.URLParameters(url)
    if parameters.heartbeat is None:
        parameters.heartbeat = HEARTBEAT
    parameters.socket_timeout = parameters.stack_timeout = IO_TIMEOUT
    parameters.connection_attempts = 1
    return parameters
