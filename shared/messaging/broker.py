"""Connection parameters of the broker, and tolerant parsing of message properties.

The publisher chooses a message's properties. Without this module, properties that a client library
cannot parse (a timestamp in the year 200000, a thousand nested tables) would end the connection
before our code sees the message, and again at each redelivery.
"""

from typing import Any

import pika
from amqp import serialization  # type: ignore[import-untyped]

#: Seconds without traffic after which either side closes the connection, unless the URL ends in
#: `?heartbeat=…`.
HEARTBEAT = 30
#: Seconds to wait for an answer of the broker.
IO_TIMEOUT = 10


#: The number of AMQP's class *basic*, which has the properties of messages.
_BASIC = 60
_read_by_amqp = serialization.PROPERTY_CLASSES[_BASIC]


def _properties(buffer: Any, offset: int) -> tuple[dict[str, Any], int]:
    """Parse properties for py-amqp; malformed properties become empty."""
    try:
        properties, end = _read_by_amqp(buffer, offset)
    except Exception:
        return {}, len(buffer)
    # kombu would decompress a body with this header without a limit of size.
    properties.get("application_headers", {}).pop("compression", None)
    return properties, end


class _Properties(pika.BasicProperties):
    """Properties for pika; malformed properties become empty."""

    def decode(self, encoded: bytes, offset: int = 0) -> Any:
        """Parse properties from a frame."""
        try:
            return super().decode(encoded, offset)
        except Exception:
            self.__init__()  # type: ignore[misc]
            return self


serialization.PROPERTY_CLASSES[_BASIC] = _properties
pika.spec.props[_BASIC] = _Properties


def parameters_of(url: str) -> pika.URLParameters:
    """Return pika's parameters for `url`: one attempt to connect, with time-outs."""
    parameters = pika.URLParameters(url)
    if parameters.heartbeat is None:
        parameters.heartbeat = HEARTBEAT
    parameters.socket_timeout = parameters.stack_timeout = IO_TIMEOUT
    parameters.connection_attempts = 1
    return parameters
