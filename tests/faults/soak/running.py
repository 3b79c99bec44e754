"""Rounds of faults under load: harm, heal, wait until the system has recovered by itself."""

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from random import Random
from time import monotonic, time
from typing import Any

import psycopg

from demo.offline import scene as scenes
from demo.offline.buyers import order_of
from demo.offline.scene import Goods, Scene
from demo.payments import provider
from farmgate.client import Client
from farmgate.failures import Refused
from tests.faults.soak import ledger as ledgers
from tests.faults.soak.bench import Bench
from tests.faults.soak.faults import FAULTS, Fault, Heal, deliver_again
from tests.faults.soak.ledger import Ledger
from tests.faults.soak.load import PLENTY, Load, receive
from tests.support.processes import SERVICES
from tests.support.servers import wait_until

#: Faults of one round, by weight.
AT_ONCE = {1: 30, 2: 40, 3: 30}
#: Seconds in which the system must have recovered, and in the end have nothing left to do.
RECOVERED, DRAINED = 240.0, 300.0
#: Seconds between two rounds, in which the load goes on unharmed.
QUIET = (0.2, 1.0)
#: Reasons for which an event is parked that only poison has.
POISONED = ("unreadable", "invalid", "unknown_type", "newer_version", "given_up")


@dataclass
class Line:
    """One kind of fault in the report."""

    times: int = 0
    #: Seconds from the healing of its round until the system had recovered, the longest.
    longest: float = 0.0


@dataclass
class Report:
    """What the soak did and found."""

    seed: int
    faults: int = 0
    rounds: int = 0
    seconds: float = 0.0
    lines: dict[str, Line] = field(default_factory=dict)
    longest: float = 0.0
    longest_after: list[str] = field(default_factory=list)
    restarts: int = 0
    by_hand: int = 0
    reached: dict[str, int] = field(default_factory=dict)
    poisoned: int = 0
    parked: int = 0
    acknowledged: int = 0
    events: int = 0
    ledger: Ledger = field(default_factory=Ledger)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, doubled, oversold or out of order, and verify agrees."""
        return self.ledger.is_clean and bool(self.ledger.verified.get("agrees"))

    def as_json(self) -> dict[str, Any]:
        """Return it for scripts."""
        return {"clean": self.is_clean} | asdict(self)


def plan(random: Random, count: int, only: str | None = None) -> list[list[Fault]]:
    """Return `count` faults in rounds; those of one round can happen at the same time."""
    possible = [fault for fault in FAULTS if only is None or only in fault.name]
    if not possible:
        raise SystemExit(f"No fault is called {only}: {', '.join(f.name for f in FAULTS)}")
    rounds: list[list[Fault]] = []
    while count > 0:
        wanted = min(count, random.choices(list(AT_ONCE), list(AT_ONCE.values()))[0])
        chosen: list[Fault] = []
        for _ in range(wanted):
            free = [f for f in possible if f.area not in {each.area for each in chosen}]
            if free:
                chosen.append(random.choices(free, [f.weight for f in free])[0])
        rounds.append(chosen)
        count -= len(chosen)
    return rounds


def set_scene(client: Client, seed: int) -> tuple[Scene, Goods]:
    """Bring plenty of what stations sell, and choose what there will be too little of."""
    made = scenes.prepare(client, seed)
    # Parcels would have to be sent first; here nobody comes for one.
    desks = [replace(desk, has_parcels=False) for desk in made.desks]
    scene = Scene(made.centre_id, made.goods, desks)
    for goods in scene.goods:
        receive(client, scene.centre_id, goods, PLENTY)
    taken = {goods.variant_id for goods in scene.goods}
    variants = {
        variant["variant_id"]: (product, variant)
        for product in client.pages("catalog", "/products", status="listed")
        for variant in product["variants"]
        if variant["variant_id"] not in taken and not product["perishable"]
    }
    lots = [
        lot for lot in client.pages("catalog", "/lots", status="released")
        if lot["variant_id"] in variants
    ]  # fmt: skip
    lot = min(lots, key=lambda each: str(each["code"]))
    product, variant = variants[lot["variant_id"]]
    return scene, scenes.goods_of(lot["lot_id"], lot["code"], product, variant)


def run(
    bench: Bench,
    seed: int,
    count: int,
    told: Callable[[str, int], None],
    only: str | None = None,
) -> Report:
    """Do `count` faults; `told` hears what is done and how many faults are over."""
    report = Report(seed)
    random = Random(f"{seed}/faults")
    began = monotonic()
    told("devices and goods", 0)
    scene, scarce = set_scene(bench.client, seed)
    load = Load(bench.client, provider(bench.client, bench.system.environment), scene, scarce, seed)
    load.start()
    #: What the system did not recover from.
    stuck = None
    try:
        for faults in plan(random, count, only):
            told(", ".join(fault.name for fault in faults), report.faults)
            try:
                _round(bench, load, scene, faults, random, report)
            except TimeoutError as error:
                stuck = str(error)
                break
            report.faults += len(faults)
            report.rounds += 1
        told("the load ends", report.faults)
    finally:
        for link in bench.links.values():
            link.heal()
        load.stop()
    told("everything settles", report.faults)
    try:
        _drain(bench)
    except TimeoutError as error:
        stuck = stuck or str(error)
    parked = _poison(bench)
    report.parked = len(parked)
    told("the ledger", report.faults)
    report.ledger = ledgers.read(bench, load, scarce.variant_id)
    if stuck:
        report.ledger.wrong.append(stuck)
    report.ledger.wrong += [
        f"a bad message is not parked: {what} ({event_id})"
        for event_id, what in bench.poisoned.items()
        if event_id not in parked
    ]
    verified = bench.system.command("verify", "--json", seconds=900)
    with suppress(ValueError):
        report.ledger.verified = json.loads(verified.stdout)
    report.ledger.wrong += [str(d) for d in report.ledger.verified.get("differences", [])][:5]
    report.seconds = monotonic() - began
    report.restarts = sum(bench.restarts.values())
    report.by_hand, report.reached = bench.by_hand, dict(bench.reached)
    report.poisoned = len(bench.poisoned)
    report.acknowledged = load.said.count + report.ledger.of("station entries").kept
    report.events = report.ledger.of("effects of events").kept
    return report


def _round(
    bench: Bench,
    load: Load,
    scene: Scene,
    faults: list[Fault],
    random: Random,
    report: Report,
) -> None:
    heals: list[Heal] = []
    lasts = 0.0
    # It reads what was published, from a database that another fault may take away.
    for fault in sorted(faults, key=lambda fault: fault.harm is not deliver_again):
        chance = Random(random.random())
        heals.append(fault.harm(bench, chance))
        lasts = max(lasts, chance.uniform(*fault.lasts))
    threading.Event().wait(lasts)
    for heal in reversed(heals):
        heal()
    seconds = _recover(bench, load, scene)
    names = [fault.name for fault in faults]
    for name in names:
        line = report.lines.setdefault(name, Line())
        line.times += 1
        line.longest = max(line.longest, seconds)
    if seconds > report.longest:
        report.longest, report.longest_after = seconds, names
    threading.Event().wait(random.uniform(*QUIET))


def _recover(bench: Bench, load: Load, scene: Scene) -> float:
    """Return the seconds until an order went all the way and nothing from before is left."""
    began = monotonic()
    _go_all_the_way(bench, load, scene)
    if bench.lost_at is not None:
        # What was lost is asked for in the dead queues. Once that is done it is in the queues, and
        # an order placed then comes after it. The broker counts its queues late, the logs tell it.
        wait_until(
            lambda: _said_again(bench) and not _queued(bench, ".dead"),
            RECOVERED,
            "what was lost is said again",
        )
        _go_all_the_way(bench, load, scene)
        bench.losses.append((bench.lost_at, time()))
        bench.lost_at = None
    return monotonic() - began


def _said_again(bench: Bench) -> bool:
    """Whether the last request to publish again has been done in each service."""
    asked = {
        line["outbox"]: _since(line) for line in bench.told("topology", "asked to publish again")
    }
    done = {
        (line["service"], _since(line))
        for name in bench.workers
        for line in bench.told(name, "published again")
    }
    return asked.items() <= done


def _since(line: dict[str, Any]) -> str:
    return str(line["reason"]).partition("since ")[2].partition(" ")[0]


def _go_all_the_way(bench: Bench, load: Load, scene: Scene) -> None:
    number = len(load.said.orders) + 1
    buyer = f"soak-canary-{number}"
    load.said.orders[buyer] = None
    load.said.orders[buyer] = order_id = _placed(
        bench.client, order_of(scene.goods[0], 1, scene.desks[0].site_id, buyer, number)
    )
    before = {service: _one(bench, service, "SELECT max(id) FROM outbox") for service in SERVICES}

    def recovered() -> bool:
        try:
            for name in SERVICES:
                if _one(bench, name, _KILLERS):
                    _replay_killers(bench)
            return (
                _one(bench, "logistics", _SHIPMENTS, order_id)
                and _one(bench, "notifications", _MESSAGES, order_id)
                and not any(_one(bench, name, _UNSAID, before[name]) for name in SERVICES)
                and not any(_one(bench, name, _PARKED, list(POISONED)) for name in SERVICES)
            )
        except psycopg.Error:
            return False

    wait_until(recovered, RECOVERED, f"recovery: order {order_id} is planned, all is published")


def _placed(client: Client, body: dict[str, Any]) -> str:
    """Return the id of a new order; whose clock is still wrong has no price yet, and is asked anew.

    Raises:
        TimeoutError: it is refused for too long.
    """
    placed: dict[str, Any] = {}

    def place() -> bool:
        # A key of its own each time: a refusal is an answer, and kept as one.
        with suppress(Refused):
            placed.update(client.post("orders", "/orders", body, patience=RECOVERED))
        return bool(placed)

    wait_until(place, RECOVERED, "recovery: an order is taken")
    return str(placed["order_id"])


def _replay_killers(bench: Bench) -> None:
    """Do what an operator does about events that killed their worker, once it is mended."""
    done = bench.system.command(
        "parked", "replay", "--reason", "killed_worker", "--why", "the soak mended the handler"
    )
    bench.by_hand += done.returncode == 0


_KILLERS = "SELECT count(*) FROM parked_events WHERE reason = 'killed_worker' AND state = 'dead'"
_SHIPMENTS = "SELECT count(*) FROM shipments WHERE order_id = %s"
_MESSAGES = "SELECT count(*) FROM messages WHERE order_id = %s"
_UNSAID = "SELECT count(*) FROM outbox WHERE position IS NULL AND id <= %s"
_PARKED = "SELECT count(*) FROM parked_events WHERE reason <> ALL(%s)"


def _one(bench: Bench, service: str, statement: str, *values: Any) -> Any:
    with bench.database(service) as connection:
        row = connection.execute(statement, values).fetchone()
    return row[0] if row else None


def _drain(bench: Bench) -> None:
    """Wait until nothing is on its way any more."""

    def left() -> dict[str, Any]:
        found = {f"{name}: unsaid": _one(bench, name, _WAITING) for name in SERVICES}
        found |= {
            f"{name}: parked": _one(bench, name, _PARKED, list(POISONED)) for name in SERVICES
        }
        found["open orders"] = _one(bench, "orders", _OPEN)
        return {what: count for what, count in found.items() if count}

    def settled() -> bool:
        """At rest, and an event that came last has been handled by everybody."""
        return not left() and not _queued(bench) and not left()

    try:
        wait_until(settled, DRAINED, "every event has taken effect")
    except TimeoutError as error:
        raise TimeoutError(f"{error}; left: {left()}, in queues: {_queued(bench)}") from error


_WAITING = "SELECT count(*) FROM outbox WHERE position IS NULL"
#: Undecided orders, and those that wait for money that nobody pays. Not those that a process whose
#: clock was an hour ahead gave an hour more.
_OPEN = (
    "SELECT count(*) FROM orders WHERE state = 'placed' "
    "OR expires_at < now() + interval '30 minutes'"
)


def _queued(bench: Bench, kind: str = ".events") -> int:
    """Return how many messages a kind of queues holds, ready or not acknowledged."""
    lines = bench.broker.ctl("list_queues", "-p", "soak", "name", "messages").splitlines()
    counts = dict(line.split("\t") for line in lines if "\t" in line)
    return sum(int(count) for name, count in counts.items() if kind in name)


def _poison(bench: Bench) -> list[str]:
    found = []
    for service in SERVICES:
        with bench.database(service) as connection:
            rows = connection.execute(
                "SELECT event_id::text FROM parked_events WHERE reason = ANY(%s)",
                (list(POISONED),),
            )
            found += [row[0] for row in rows]
    return found
