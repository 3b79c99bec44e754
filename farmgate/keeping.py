"""What the topology's keeper learns from the broker's management API, and what it keeps there."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar

from farmgate.failures import Failed, Unreachable
from farmgate.integrators import known
from farmgate.management import Management, management_of
from shared.messaging import topology
from shared.messaging.healing import Bindings, Whole
from shared.messaging.topology import Integrator
from shared.runtime.clock import rfc3339
from shared.runtime.logs import get

log = get(__name__)

#: The global parameter that remembers when which bindings were there, before the virtual host.
WHOLE = "topology.whole"

T = TypeVar("T")


class ByManagement:
    """A `shared.messaging.healing.Witness` that asks the management API.

    It never raises: what is wrong is logged, once, and nothing is known meanwhile.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Keep where the broker is said to be."""
        self.environment = environment
        self._told: set[str] = set()

    def integrators(self) -> list[Integrator]:
        """Return whose queues are to be kept besides the services'."""
        return self._asked(known) or []

    def bound(self) -> Bindings | None:
        """Return what is bound to the exchange; None when that cannot be seen."""

        def ask(management: Management) -> Bindings:
            place = ("exchanges", management.vhost, topology.EXCHANGE, "bindings", "source")
            found: defaultdict[str, set[str]] = defaultdict(set)
            for binding in management.get(*place) or ():
                found[binding["destination"]].add(binding["routing_key"])
            return {queue: frozenset(types) for queue, types in found.items()}

        return self._asked(ask)

    def remembered(self) -> Whole | None:
        """Return what `remember` was told last, by whichever process."""

        def ask(management: Management) -> Whole | None:
            parameter = management.get("global-parameters", _name_at(management))
            if parameter is None:
                return None
            value: dict[str, Any] = parameter["value"]
            # Of another version of Farmgate, which may have kept it otherwise.
            with suppress(KeyError, TypeError, ValueError, AttributeError):
                bindings = {queue: frozenset(types) for queue, types in value["bindings"].items()}
                return Whole(bindings, datetime.fromisoformat(value["at"]))
            return None

        return self._asked(ask)

    def remember(self, whole: Whole) -> None:
        """Keep it at the broker, where it outlives this process."""
        value = {
            "bindings": {queue: sorted(types) for queue, types in whole.bindings.items()},
            "at": rfc3339(whole.at),
        }
        self._asked(lambda m: m.put("global-parameters", _name_at(m), value=value))

    def _asked(self, question: Callable[[Management], T]) -> T | None:
        try:
            answer = question(management_of(self.environment))
        except (Failed, Unreachable) as error:
            if error.message not in self._told:
                self._told.add(error.message)
                log.warning("bindings and integrators are not seen", reason=error.message)
            return None
        self._told.clear()
        return answer


def _name_at(management: Management) -> str:
    return f"{WHOLE}.{management.vhost}"
