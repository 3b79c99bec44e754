"""Trace an order: merge the four services' audit trails of it into one timeline."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from farmgate.client import Client
from farmgate.failures import Failed, Refused, Unreachable
from farmgate.services import NAMES, service_of
from shared.runtime import clock

#: An event that takes longer than this to be published or handled is reported as delayed.
USUAL_DELAY = timedelta(seconds=5)
#: An order's reference; people may type it in lower case.
_REFERENCE = re.compile(r"(?i)^ORD-[2-9A-Z]{8}$")
#: A partner's own number of an order, as orders takes it.
_EXTERNAL = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._:/#|-]{0,63}$")


@dataclass
class HandledEvent:
    """A service that handled an event, and the milliseconds since the event was recorded."""

    service: str
    milliseconds: int


@dataclass
class Delay:
    """The service in which an event of the order is delayed, since when, and what to do."""

    service: str
    event: str
    why: str
    since: str


@dataclass
class ParkedEvent:
    """A service in which an event is parked."""

    service: str
    state: str
    reason: str
    attempts: int
    next_attempt_at: str | None


@dataclass
class TracedEvent:
    """One event of the order or its shipment."""

    event_id: str
    type: str
    subject: str
    sequence: int
    recorded_at: datetime
    #: None if it is not published yet.
    published_after_ms: int | None
    handled: list[HandledEvent] = field(default_factory=list)
    parked: list[ParkedEvent] = field(default_factory=list)

    @property
    def publisher(self) -> str:
        """The service that published the event."""
        return self.type.partition(".")[0]


@dataclass
class Trace:
    """The state and events of one order in all services."""

    order_id: str
    #: Service → the order's state there; services that do not answer are missing.
    states: dict[str, dict[str, Any]]
    timeline: list[TracedEvent]
    #: Service → what the order waits for there, and since when.
    waiting_for: dict[str, list[dict[str, Any]]]
    #: Service → why it does not answer.
    silent: dict[str, str]
    held_up: list[Delay] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the trace as the JSON of `farmgate trace --json`."""
        facts = [
            asdict(event) | {"recorded_at": event.recorded_at.isoformat()}
            for event in self.timeline
        ]
        return {
            "order_id": self.order_id,
            "states": self.states,
            "timeline": facts,
            "waiting_for": self.waiting_for,
            "held_up": [asdict(each) for each in self.held_up],
            "silent": self.silent,
        }


def find_order(client: Client, order: str) -> str:
    """Return the id of an order, given its id, its reference or its partner's external_ref.

    Raises:
        Failed: there is no such order, or several partners have one with this external_ref.
    """
    try:
        return str(UUID(order))
    except ValueError:
        pass
    found = []
    if _REFERENCE.match(order):
        of_prefix = client.get("orders", "/orders", q=order.upper())["items"]
        found = [each for each in of_prefix if each["order_ref"] == order.upper()]
    if not found:
        if not _EXTERNAL.match(order):
            raise Failed(f"{order} is no order's reference (ORD-7KQ2M9XH), external_ref or id.")
        found = client.get("orders", "/orders", external_ref=order)["items"]
    if not found:
        raise Failed(f"There is no order {order}.")
    if len(found) > 1:
        named = ", ".join(f"{each['order_ref']} of {each['partner']}" for each in found)
        raise Failed(f"Several partners have an order {order}: {named}. Name one by its reference.")
    return str(found[0]["order_id"])


def gather(client: Client, order_id: str) -> Trace:
    """Return an order's trace; services that do not answer are listed in `silent`.

    Raises:
        Failed: all services answered, and none has the order.
    """
    shipments, silent = _shipments(client, order_id)
    answers: dict[str, dict[str, Any]] = {}
    for name in NAMES:
        try:
            answers[name] = client.get(name, f"/trace/{order_id}", subject=shipments)
        except Unreachable as error:
            silent[name] = error.message
        except Refused as error:
            if error.status in (401, 403):
                raise
            silent[name] = error.message
    timeline = merge(answers)
    if not timeline and not silent:
        raise Failed(f"There is no order {order_id}.")
    return Trace(
        order_id,
        {name: answer["state"] for name, answer in answers.items()},
        timeline,
        {name: answer["waiting_for"] for name, answer in answers.items() if answer["waiting_for"]},
        silent,
        held_up(timeline, answers.keys(), listeners()),
    )


def listeners() -> dict[str, set[str]]:
    """Return the services that listen to each event type."""
    found: dict[str, set[str]] = {}
    for name in NAMES:
        for contract in service_of(name).subscriptions:
            found.setdefault(contract.routing_key, set()).add(name)
    return found


def held_up(
    timeline: Iterable[TracedEvent],
    speaking: Collection[str],
    listening: Mapping[str, Collection[str]],
) -> list[Delay]:
    """Return the delayed events: parked, not published, or not handled by a listener.

    Services that do not answer (not in `speaking`) are left out.
    """
    found = []
    for event in timeline:
        since = event.recorded_at.isoformat()
        for parked in event.parked:
            why = (
                f"parked there ({parked.reason}, {parked.state}, {parked.attempts} attempts): "
                f"farmgate parked show {event.event_id}"
            )
            found.append(Delay(parked.service, event.type, why, since))
        if clock.now() - event.recorded_at < USUAL_DELAY or event.publisher not in speaking:
            continue
        if event.published_after_ms is None:
            why = "not published: check its worker and the broker with farmgate doctor"
            found.append(Delay(event.publisher, event.type, why, since))
            continue
        reached = {each.service for each in event.handled}
        reached |= {each.service for each in event.parked}
        for name in sorted(set(listening.get(event.type, ())) & set(speaking) - reached):
            why = "not handled: check its worker and its queue with farmgate doctor"
            found.append(Delay(name, event.type, why, since))
    return found


def _shipments(client: Client, order_id: str) -> tuple[list[str], dict[str, str]]:
    """Return the subjects of the order's shipments, whose events belong to the trace."""
    try:
        items = client.get("logistics", "/shipments", order_id=order_id)["items"]
    except Unreachable as error:
        return [], {"logistics": error.message}
    return [f"shipment/{shipment['shipment_id']}" for shipment in items], {}


def merge(answers: Mapping[str, dict[str, Any]]) -> list[TracedEvent]:
    """Merge the events that services published, handled and parked, the oldest first."""
    facts: dict[str, TracedEvent] = {}
    for answer in answers.values():
        for entry in answer["published"]:
            recorded_at = datetime.fromisoformat(entry["recorded_at"])
            facts[entry["event_id"]] = TracedEvent(
                entry["event_id"],
                entry["type"],
                entry["subject"],
                entry["sequence"],
                recorded_at,
                _since(recorded_at, entry["published_at"]),
            )
    for name, answer in answers.items():
        for entry in answer["handled"]:
            event = facts.get(entry["event_id"]) or _event_of_silent_publisher(
                entry, entry["recorded_at"], facts
            )
            took = _since(event.recorded_at, entry["handled_at"])
            event.handled.append(HandledEvent(name, took or 0))
        for entry in answer["parked"]:
            event = facts.get(entry["event_id"]) or _event_of_silent_publisher(
                entry, entry["first_failed_at"], facts
            )
            event.parked.append(
                ParkedEvent(
                    name,
                    entry["state"],
                    entry["reason"],
                    entry["attempts"],
                    entry["next_attempt_at"],
                )
            )
    return sorted(facts.values(), key=lambda event: (event.recorded_at, event.sequence))


def _event_of_silent_publisher(
    entry: dict[str, Any], at: str, facts: dict[str, TracedEvent]
) -> TracedEvent:
    """Add an event whose publisher does not answer, from a consumer's data."""
    event = TracedEvent(
        entry["event_id"], entry["type"], entry["subject"], 0, datetime.fromisoformat(at), None
    )
    facts[entry["event_id"]] = event
    return event


def _since(begin: datetime, end: str | None) -> int | None:
    if end is None:
        return None
    return round((datetime.fromisoformat(end) - begin).total_seconds() * 1000)


def lines_of(state: Mapping[str, Any], indent: str = "") -> Iterable[str]:
    """Return a service's state of the order as indented lines, without empty values."""
    for label, value in state.items():
        name = label.replace("_", " ")
        if value is None or value == [] or value == {}:
            continue
        if isinstance(value, Mapping):
            yield f"{indent}{name}:"
            yield from lines_of(value, indent + "  ")
        elif isinstance(value, list):
            yield f"{indent}{name}:"
            for item in value:
                yield f"{indent}  - {_one_line(item)}"
        else:
            yield f"{indent}{name}: {value}"


def _one_line(item: Any) -> str:
    if not isinstance(item, Mapping):
        return str(item)
    parts = []
    for label, value in item.items():
        if value is None or value == []:
            continue
        if isinstance(value, list):
            value = "[" + "; ".join(_one_line(each) for each in value) + "]"
        parts.append(f"{label.replace('_', ' ')} {value}")
    return ", ".join(parts)
