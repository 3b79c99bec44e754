"""The topology reconciler's access to the broker's management API."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar

from farmgate.failures import Failed, Unreachable
from farmgate.integrators import list_integrators
from farmgate.management import Management, management_of
from shared.messaging import topology
from shared.messaging.reconciler import Bindings, CompleteBindings
from shared.messaging.topology import Integrator
from shared.runtime.clock import rfc3339
from shared.runtime.logs import get

log = get(__name__)

#: The global parameter with the last complete bindings; the virtual host's name is appended.
PARAMETER = "topology.whole"

T = TypeVar("T")


class ManagementInspector:
    """A `shared.messaging.reconciler.Inspector` that uses the management API.

    It raises no errors: a failure is logged once, and the result is None or empty.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Store the settings that name the broker."""
        self.environment = environment
        self._logged: set[str] = set()

    def integrators(self) -> list[Integrator]:
        """Return the integrators, whose queues are restored like the services'."""
        return self._query(list_integrators) or []

    def bindings(self) -> Bindings | None:
        """Return the bindings of the exchange, None if they cannot be read."""

        def read(management: Management) -> Bindings:
            place = ("exchanges", management.vhost, topology.EXCHANGE, "bindings", "source")
            found: defaultdict[str, set[str]] = defaultdict(set)
            for binding in management.get(*place) or ():
                found[binding["destination"]].add(binding["routing_key"])
            return {queue: frozenset(types) for queue, types in found.items()}

        return self._query(read)

    def load(self) -> CompleteBindings | None:
        """Return the bindings that any process saved last, None if there are none."""

        def read(management: Management) -> CompleteBindings | None:
            parameter = management.get("global-parameters", _parameter_name(management))
            if parameter is None:
                return None
            value: dict[str, Any] = parameter["value"]
            # Another version of Farmgate may have saved another format.
            with suppress(KeyError, TypeError, ValueError, AttributeError):
                bindings = {queue: frozenset(types) for queue, types in value["bindings"].items()}
                return CompleteBindings(bindings, datetime.fromisoformat(value["at"]))
            return None

        return self._query(read)

    def save(self, complete: CompleteBindings) -> None:
        """Save the bindings at the broker, where they outlive this process."""
        value = {
            "bindings": {queue: sorted(types) for queue, types in complete.bindings.items()},
            "at": rfc3339(complete.at),
        }
        self._query(lambda m: m.put("global-parameters", _parameter_name(m), value=value))

    def _query(self, read: Callable[[Management], T]) -> T | None:
        try:
            answer = read(management_of(self.environment))
        except (Failed, Unreachable) as error:
            if error.message not in self._logged:
                self._logged.add(error.message)
                log.warning("bindings and integrators cannot be read", reason=error.message)
            return None
        self._logged.clear()
        return answer


def _parameter_name(management: Management) -> str:
    return f"{PARAMETER}.{management.vhost}"
