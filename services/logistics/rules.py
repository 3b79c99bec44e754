"""Logistics' rules: shipment states, ways through the network, promised days.

Nothing here reads a database or the clock.
"""

import hashlib
import heapq
import hmac
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from uuid import UUID

from shared.events import SITE_LEVELS
from shared.runtime.clock import LOCAL
from shared.runtime.errors import Conflict, Unprocessable


class ShipmentState(StrEnum):
    """The state of a shipment on our side; carriers' reports are kept apart, as tracking."""

    PLANNED = "planned"
    PACKED = "packed"
    HANDED_OVER = "handed_over"
    DELIVERED = "delivered"
    COLLECTED = "collected"
    #: Stopped before its goods left.
    CANCELLED = "cancelled"
    #: Not taken, or called back on its way: it can only come back.
    REFUSED = "refused"
    RETURNED = "returned"


#: From each state, the states that may follow. Anything else is refused.
NEXT: Mapping[ShipmentState, tuple[ShipmentState, ...]] = {
    ShipmentState.PLANNED: (ShipmentState.PACKED, ShipmentState.CANCELLED),
    # One of its lots was recalled: it is packed again, with others.
    ShipmentState.PACKED: (
        ShipmentState.HANDED_OVER,
        ShipmentState.PLANNED,
        ShipmentState.CANCELLED,
    ),
    ShipmentState.HANDED_OVER: (
        ShipmentState.DELIVERED,
        ShipmentState.COLLECTED,
        ShipmentState.REFUSED,
    ),
    ShipmentState.REFUSED: (ShipmentState.RETURNED,),
    ShipmentState.DELIVERED: (),
    ShipmentState.COLLECTED: (),
    ShipmentState.CANCELLED: (),
    ShipmentState.RETURNED: (),
}


class TrackingStatus(StrEnum):
    """What a carrier or a site saw of a parcel; a report never changes the shipment's state."""

    PRE_TRANSIT = "pre_transit"
    IN_TRANSIT = "in_transit"
    AT_STATION = "at_station"
    OUT_FOR_DELIVERY = "out_for_delivery"
    AVAILABLE_FOR_PICKUP = "available_for_pickup"
    DELIVERED = "delivered"
    FAILED_ATTEMPT = "failed_attempt"
    RETURN_TO_SENDER = "return_to_sender"
    RETURNED = "returned"
    LOST = "lost"
    DAMAGED = "damaged"
    TEMPERATURE_EXCURSION = "temperature_excursion"
    UNKNOWN = "unknown"


#: Why a shipment was not taken. A list, not free text: the reason is published, and free text
#: would sooner or later name a person.
FAILURE_REASONS = ("absent", "refused", "address_unknown", "unpaid", "damaged", "lost", "other")


#: Why a shipment comes back although nobody refused it.
LOT_RECALLED, ORDER_CANCELLED = "lot_recalled", "order_cancelled"


class LotStatus(StrEnum):
    """The status that catalog last gave a lot which it has held or recalled at least once."""

    HELD = "held"
    RECALLED = "recalled"
    RELEASED = "released"


class WrongShipmentState(Conflict):
    """Raised when a shipment's state does not allow what was asked."""


def is_over(state: ShipmentState) -> bool:
    """Tell whether a shipment can change no more."""
    return not NEXT[state]


def check_transition(shipment_ref: str, state: ShipmentState, to: ShipmentState) -> None:
    """Pass when a shipment may go from `state` to `to`.

    Raises:
        WrongShipmentState: the transition is not in `NEXT`.
    """
    if to not in NEXT[state]:
        possible = " or ".join(NEXT[state]) or "nothing else: it is over"
        raise WrongShipmentState(
            f"Shipment {shipment_ref} is {state} and cannot become {to}; it can become {possible}.",
            state=str(state),
        )


class WrongLevel(Unprocessable):
    """Raised when a site's parent is not exactly one level above it."""


def check_level(code: str, level: str, parent_level: str | None) -> None:
    """Pass when a site's parent is exactly one level above; a centre has no parent.

    Raises:
        WrongLevel: its parent is at another level.
    """
    depth = SITE_LEVELS.index(level)
    wanted = SITE_LEVELS[depth - 1] if depth else None
    if parent_level != wanted:
        raise WrongLevel(
            f"Site {code} is a {level}: "
            + (f"name the {wanted} above it as its parent." if wanted else "it has no parent.")
        )


@dataclass(frozen=True, order=True)
class Leg:
    """A connection from one site to the next."""

    from_id: UUID
    to_id: UUID
    hours: int
    #: Days it runs, as ISO weekdays: 1 is Monday, 7 is Sunday.
    days: tuple[int, ...]
    #: True: goods stay chilled or frozen all the way.
    cold: bool


Way = tuple[Leg, ...]

EVERY_DAY = (1, 2, 3, 4, 5, 6, 7)
#: Hours and days of the leg that leads down to a site of each level, where no route says
#: otherwise. Plausible examples for mountain roads, not measurements.
DEFAULT_LEGS: Mapping[str, tuple[int, tuple[int, ...]]] = {
    "county": (6, EVERY_DAY),
    "township": (3, (1, 2, 3, 4, 5, 6)),
    "village": (2, (2, 4, 6)),
}


def default_leg(level: str, parent_id: UUID, site_id: UUID) -> Leg:
    """Return the leg from a parent down to a site of `level` that no route describes.

    It is never cold: a wrong guess about hours costs a day, a wrong guess about cold the goods.
    """
    hours, days = DEFAULT_LEGS[level]
    return Leg(parent_id, site_id, hours, days, cold=False)


def fastest_ways(starts: Iterable[UUID], legs: Iterable[Leg]) -> dict[UUID, Way]:
    """Return the way to each site that is reachable from `starts`; a start's own way is empty.

    The fastest way has the fewest hours on the road, then the fewest legs. Waiting for a day of
    service does not count, so a site's way is the same every day and its clerks know where a
    parcel comes from. Source: Dijkstra, "A note on two problems in
    connexion with graphs", Numerische Mathematik 1, 1959.
    """
    leaving: defaultdict[UUID, list[Leg]] = defaultdict(list)
    for leg in legs:
        leaving[leg.from_id].append(leg)
    ways: dict[UUID, Way] = {}
    # Ids, then legs, break ties, so that the same network always gives the same ways.
    waiting: list[tuple[int, int, UUID, Way]] = [(0, 0, start, ()) for start in starts]
    heapq.heapify(waiting)
    while waiting:
        hours, count, site_id, way = heapq.heappop(waiting)
        if site_id in ways:
            continue
        ways[site_id] = way
        for leg in leaving[site_id]:
            if leg.to_id not in ways:
                entry = (hours + leg.hours, count + 1, leg.to_id, (*way, leg))
                heapq.heappush(waiting, entry)
    return ways


def needs_cold(storages: Iterable[str | None]) -> bool:
    """Tell whether goods of these storage classes need a cold way; None keeps anywhere."""
    return any(storage is not None for storage in storages)


#: Hours from the confirmation until a parcel is ready to leave the centre.
PACKING_HOURS = 4
#: When lorries leave, Asia/Shanghai. A parcel that comes later waits for the next day served.
DEPARTURE = time(8, 0)


def next_departure(ready_at: datetime, days: Collection[int]) -> datetime:
    """Return when a leg that runs on `days` next leaves, at `ready_at` or later."""
    local = ready_at.astimezone(LOCAL)
    day = local.date() if local.time() <= DEPARTURE else local.date() + timedelta(days=1)
    while day.isoweekday() not in days:
        day += timedelta(days=1)
    return datetime.combine(day, DEPARTURE, LOCAL)


def promised_on(confirmed_at: datetime, way: Way) -> date:
    """Return the day (Asia/Shanghai) on which goods ordered now reach the end of `way`.

    Each leg leaves at `DEPARTURE` on a day it runs and takes its hours.
    """
    at = confirmed_at.astimezone(LOCAL) + timedelta(hours=PACKING_HOURS)
    for leg in way:
        at = next_departure(at, leg.days) + timedelta(hours=leg.hours)
    return at.date()


class WrongAmount(Unprocessable):
    """Raised when the money taken is not the money due, and no reason is given."""


def check_collected(due_fen: int, collected_fen: int, difference_reason: str | None) -> None:
    """Pass when the money taken is the money due, or a reason is given.

    Raises:
        WrongAmount: the amounts differ without a reason.
    """
    if collected_fen != due_fen and not difference_reason:
        raise WrongAmount(
            f"{due_fen} fen are due and {collected_fen} fen were taken; "
            "correct the amount or give a difference_reason.",
            due_fen=due_fen,
        )


#: Wrong tries after which a collection code is locked: 1 in 200,000 to guess one of 6 digits.
CODE_TRIES = 5


def code_digest(code: str, salt: bytes) -> bytes:
    """Return the digest that is stored for a collection code: SHA-256 over its salt and digits.

    It hides codes in dumps and query results. It does not hide them from somebody who has the
    database and tries all million codes. At the counter, the limit of tries stops that.
    """
    return hashlib.sha256(salt + code.encode()).digest()


def code_matches(code: str, salt: bytes, digest: bytes) -> bool:
    """Tell whether `code` is the one issued, in a time that does not depend on its digits."""
    return hmac.compare_digest(code_digest(code, salt), digest)


@dataclass(frozen=True)
class ShipmentRows:
    """The values in the rows of one shipment that must agree with each other."""

    state: ShipmentState
    collect: bool
    due_fen: int
    collected_fen: int | None
    #: The moments that are set: `packed`, `handed_over`, `arrived`, `refused`, `ended`.
    moments: frozenset[str]
    #: Sum of its lines.
    quantity: int
    #: The money that its proof of delivery names; None: there is no proof.
    proven_fen: int | None
    has_reason: bool
    has_code: bool


#: State → the moments that must be set by then.
MOMENTS: Mapping[ShipmentState, frozenset[str]] = {
    ShipmentState.PLANNED: frozenset(),
    ShipmentState.PACKED: frozenset({"packed"}),
    ShipmentState.HANDED_OVER: frozenset({"packed", "handed_over"}),
    ShipmentState.DELIVERED: frozenset({"packed", "handed_over", "ended"}),
    ShipmentState.COLLECTED: frozenset({"packed", "handed_over", "arrived", "ended"}),
    ShipmentState.CANCELLED: frozenset({"ended"}),
    ShipmentState.REFUSED: frozenset({"packed", "handed_over", "refused"}),
    ShipmentState.RETURNED: frozenset({"packed", "handed_over", "refused", "ended"}),
}


def disagreements(rows: ShipmentRows) -> list[tuple[str, str, str]]:
    """Return the differences within the rows of one shipment: (check, expected, found)."""
    found = []
    if rows.quantity <= 0:
        found.append(("lines", "something", "nothing"))
    missing = MOMENTS[rows.state] - rows.moments
    if missing:
        found.append(("moments", f"{', '.join(sorted(missing))} noted", "not noted"))
    if "ended" in rows.moments and not is_over(rows.state):
        found.append(("moments", "no end", "ended"))
    is_taken = rows.state in (ShipmentState.DELIVERED, ShipmentState.COLLECTED)
    taken_fen = rows.collected_fen if is_taken else None
    if is_taken != (rows.proven_fen is not None):
        found.append(("proof", "a proof" if is_taken else "none", "none" if is_taken else "one"))
    elif rows.proven_fen != taken_fen:
        found.append(("proof", f"{taken_fen} fen", f"{rows.proven_fen} fen"))
    elif is_taken and taken_fen != rows.due_fen and not rows.has_reason:
        found.append(("proof", f"{rows.due_fen} fen or a reason", f"{taken_fen} fen, no reason"))
    waits = rows.state in (ShipmentState.HANDED_OVER, ShipmentState.REFUSED)
    needs_code = rows.collect and waits and "arrived" in rows.moments
    if needs_code != rows.has_code:
        found.append(("code", "a code" if needs_code else "none", "none" if needs_code else "one"))
    return found
