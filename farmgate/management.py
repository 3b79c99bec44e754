"""RabbitMQ's management API: what AMQP cannot tell or do."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import requests

from farmgate import broker_users
from farmgate.broker_address import topology_url
from farmgate.failures import Failed, Unreachable
from shared.runtime import addresses
from shared.runtime.config import read

SETTING = "FARMGATE_BROKER_MANAGEMENT_URL"
#: Where a deployment's operator finds the address, in `FARMGATE_DATA`.
MANAGEMENT_FILE = "broker_management_url"
#: RabbitMQ's own choices.
AMQP_PORT, MANAGEMENT_PORT = 5672, 15672
#: Seconds to wait for a connection, and between two bytes.
TIMEOUTS = (3.05, 20)


class Management:
    """RabbitMQ's management API, as one of its users; `vhost` is where the events are."""

    def __init__(self, base: str, user: str, password: str, vhost: str) -> None:
        self.base, self.user, self.vhost = base, user, vhost
        self._session = requests.Session()
        # A proxy of the environment is for the world, not for our own broker.
        self._session.trust_env = False
        self._session.auth = (user, password)

    def get(self, *path: str) -> Any:
        """Return what is there, None when it is not."""
        answer = self._call("GET", path)
        return None if answer.status_code == requests.codes.not_found else answer.json()

    def put(self, *path: str, **body: Any) -> None:
        """Make what is to be there."""
        self._call("PUT", path, body)

    def delete(self, *path: str) -> None:
        """Remove what is there, if it is."""
        self._call("DELETE", path)

    def _call(
        self, method: str, path: Sequence[str], body: Mapping[str, Any] | None = None
    ) -> requests.Response:
        url = "/".join([f"{self.base}/api", *(quote(part, safe="") for part in path)])
        try:
            answer = self._session.request(method, url, json=body, timeout=TIMEOUTS)
        except requests.RequestException as error:
            raise Unreachable(
                f"The broker's management API at {self.base} cannot be reached "
                f"({type(error).__name__}). Enable it (rabbitmq-plugins enable "
                f"rabbitmq_management), or set {SETTING} to where it is."
            ) from error
        if answer.status_code in (requests.codes.unauthorized, requests.codes.forbidden):
            raise Failed(
                f"The broker's management API at {self.base} refuses user {self.user}, who needs "
                f"the tag administrator. Set {SETTING} to http://USER:PASSWORD@HOST:15672; in a "
                "deployment restart rabbitmq once, so that it learns of its operator."
            )
        if not answer.ok and (answer.status_code != requests.codes.not_found or method == "PUT"):
            raise Failed(
                f"The broker's management API answered {answer.status_code} to {method} "
                f"{'/'.join(path)}: {answer.text.strip()[:300]}"
            )
        return answer


def management_of(environment: Mapping[str, str]) -> Management:
    """Return the management API of the broker at which topology is declared.

    Raises:
        Failed: no broker is set, or it is not said where its management API is.
    """
    broker = urlsplit(topology_url(environment))
    given = read(environment, SETTING, "")
    if not given:
        file = Path(read(environment, "FARMGATE_DATA", "var")) / MANAGEMENT_FILE
        given = file.read_text(encoding="utf-8").strip() if file.is_file() else ""
    if not given:
        # Of a broker at another port nobody knows where the rest of it is, and a neighbour's
        # management API would answer just as well.
        if broker.scheme != "amqp" or broker.port not in (None, AMQP_PORT):
            raise Failed(
                f"Set {SETTING} to http://USER:PASSWORD@HOST:15672, with a user of the broker "
                "that has the tag administrator."
            )
        given = f"http://{addresses.host_and_port(broker.hostname or '', MANAGEMENT_PORT)}"
    parts = urlsplit(addresses.check_http(SETTING, given))
    place = parts.netloc.rpartition("@")[2]
    who = parts if parts.username else broker
    return Management(
        f"{parts.scheme}://{place}{parts.path.rstrip('/')}",
        unquote(who.username or "guest"),
        unquote(who.password or "guest"),
        unquote(broker.path.removeprefix("/")) or broker_users.VHOST,
    )
