"""A client of RabbitMQ's management API, for what AMQP cannot do: users, bindings, alarms."""

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
#: The file in FARMGATE_DATA with the URL, in a deployment's operator container.
MANAGEMENT_FILE = "broker_management_url"
#: RabbitMQ's default ports.
AMQP_PORT, MANAGEMENT_PORT = 5672, 15672
#: Seconds to connect, and to wait for a byte.
TIMEOUTS = (3.05, 20)


class Management:
    """RabbitMQ's management API for one user; `vhost` is the virtual host of the events."""

    def __init__(self, base: str, user: str, password: str, vhost: str) -> None:
        self.base, self.user, self.vhost = base, user, vhost
        self._session = requests.Session()
        # Proxy settings of the environment do not apply to our own broker.
        self._session.trust_env = False
        self._session.auth = (user, password)

    def get(self, *path: str) -> Any:
        """Return the resource, None if it does not exist."""
        answer = self._call("GET", path)
        return None if answer.status_code == requests.codes.not_found else answer.json()

    def put(self, *path: str, **body: Any) -> None:
        """Create or replace the resource."""
        self._call("PUT", path, body)

    def delete(self, *path: str) -> None:
        """Delete the resource if it exists."""
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
                "deployment restart rabbitmq once, so that it loads its definitions."
            )
        if not answer.ok and (answer.status_code != requests.codes.not_found or method == "PUT"):
            raise Failed(
                f"The broker's management API answered {answer.status_code} to {method} "
                f"{'/'.join(path)}: {answer.text.strip()[:300]}"
            )
        return answer


def management_of(environment: Mapping[str, str]) -> Management:
    """Return the management API of the broker at which the topology is declared.

    Raises:
        Failed: no broker is set, or the URL of its management API is unknown.
    """
    broker = urlsplit(topology_url(environment))
    given = read(environment, SETTING, "")
    if not given:
        file = Path(read(environment, "FARMGATE_DATA", "var")) / MANAGEMENT_FILE
        given = file.read_text(encoding="utf-8").strip() if file.is_file() else ""
    if not given:
        # Behind another AMQP port, the default port may belong to another broker.
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
