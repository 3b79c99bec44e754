"""Run the offline demo: prepare, sell for a day, sync all devices, settle disputes, compare."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from random import Random
from time import monotonic
from typing import Any

from demo.offline import clerk as clerks
from demo.offline import scene as scenes
from demo.offline.buyers import BUYERS, Buyer
from demo.offline.clerk import Clerk, Ending
from demo.offline.link import Line, Link, Weather
from demo.offline.operator import Operator
from demo.offline.scene import Scene
from farmgate.client import Client
from farmgate.verify import verifier as verify

#: The device that is restored from a backup; none of its lots is held or recalled.
RESTORED = 9
#: A buyer places so many orders evenly until this share of the day, later ones without a pace.
PACED_ORDERS, PACED_UNTIL = 30, 0.85
#: Seconds for devices to send everything, and for every event to take effect.
SETTLING_SECONDS = 120.0
LOOK = 0.25


class Day:
    """The progress of the day, counted in clerks' steps."""

    def __init__(self, steps: int, told: Callable[[int], None]) -> None:
        self._steps, self._told = steps, told
        self._done = 0
        self._changed = threading.Condition()
        self._stopping = False

    def tick(self) -> bool:
        """Count one step of one clerk; return whether the day goes on."""
        with self._changed:
            self._done += 1
            self._changed.notify_all()
            self._told(self._done)
            return not self._stopping

    def stop(self) -> None:
        """End the day for everybody."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def wait_until(self, share: float) -> bool:
        """Wait until this share of the day is over; return whether the day goes on."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._done >= share * self._steps)
            return not self._stopping

    def wait(self, seconds: float) -> bool:
        """Wait for `seconds`; return whether to stop."""
        with self._changed:
            return self._changed.wait_for(lambda: self._stopping, seconds)


@dataclass
class Result:
    """What the demo found."""

    seed: int
    scene: Scene
    endings: list[Ending] = field(default_factory=list)
    #: The faults of the links, by device number.
    faults: dict[int, Counter[str]] = field(default_factory=dict)
    orders: Counter[str] = field(default_factory=Counter)
    #: States of the orders whose parcels tills handed out.
    parcels: Counter[str] = field(default_factory=Counter)
    #: Stations' cash: taken, given_back, handed_on and missing, in fen.
    cash: Counter[str] = field(default_factory=Counter)
    #: The disputed sales: device, number, reason, and how each was settled.
    disputed: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    products: list[dict[str, Any]] = field(default_factory=list)
    #: Where devices and centre disagree, one sentence each.
    wrong: list[str] = field(default_factory=list)
    #: The result of `farmgate verify` at the end.
    verified: verify.Result = field(default_factory=verify.Result)

    @property
    def agrees(self) -> bool:
        """Whether devices, centre and services all agree."""
        return not self.wrong and self.verified.agrees

    def of_device(self, ending: Ending) -> dict[str, Any]:
        """Return one device's row of the table; `remaining` is by unit."""
        store = ending.till.store
        entries = [entry for each in (*ending.earlier, store) for entry in each.journal.values()]
        units = {goods.lot_id: goods.unit for goods in self.scene.goods}
        remaining: Counter[str] = Counter()
        for allotment_id, quantity in store.remaining().items():
            remaining[units[store.allotments[allotment_id].lot_id]] += quantity
        faults = self.faults[ending.desk.number]
        return {
            "device": store.device_code,
            "epoch": store.epoch,
            "site": ending.desk.site_name,
            "entries": len(entries),
            "sold": sum(entry.kind == "sale" for entry in entries),
            "voided": sum(entry.kind == "void" for entry in entries),
            "taken_back": sum(entry.kind == "return" for entry in entries),
            "uploads": ending.counts["uploads"],
            "outages": faults["outages"],
            "lost_answers": faults["loses_answer"],
            "lost_requests": faults["loses_request"] + faults["portal"],
            "doubled": faults["doubles"],
            "late": faults["keeps_back"],
            "power_cuts": ending.counts["power cuts"],
            "restored": ending.restored,
            "disputed": sum(each["device"] == store.device_code for each in self.disputed),
            "remaining": dict(remaining),
        }

    def as_json(self) -> dict[str, Any]:
        """Return the result for scripts."""
        return {
            "seed": self.seed,
            "devices": [self.of_device(ending) for ending in self.endings],
            "products": self.products,
            "orders": dict(sorted(self.orders.items())),
            "parcels": dict(sorted(self.parcels.items())),
            "cash_fen": dict(sorted(self.cash.items())),
            "disputed": self.disputed,
            "notes": self.notes,
            "agree": self.agrees,
            "differences": self.wrong,
            "verify": self.verified.as_json(),
        }


def run(
    client: Client,
    seed: int,
    progress: Callable[[str, int, int], None],
    weather: Weather | None = None,
    steps: int = clerks.STEPS,
) -> Result:
    """Run the demo; it calls `progress` with the present work, the number done, and the total.

    Each clerk works for `steps` steps, more than `clerk.RESTORED_AT`.

    Raises:
        Failed: the sample is not loaded.
        Refused, Unreachable: a service refused a valid request, or does not answer.
    """
    progress("lots and devices", 0, 1)
    scene = scenes.prepare(client, seed)
    result = Result(seed, scene)
    operator = Operator(client, scene, Random(f"{seed}/operator"))
    working = []
    for desk in scene.desks:
        random = Random(f"{seed}/desk/{desk.number}")
        link = Link(Line(client.addresses), random, weather or Weather())
        is_restored = desk.number == RESTORED
        working.append(Clerk(desk, link, random, operator.top_up, is_restored))
    every = len(working) * steps
    day = Day(every, lambda done: progress("stations sell, buyers order", done, every))
    parcels = _live(client, scene, operator, working, day, steps, result)
    result.endings = [clerk.ending for clerk in working]
    result.faults = {clerk.desk.number: clerk.link.counts for clerk in working}
    _come_home(operator, working, result, progress)
    operator.take_cash((clerk.desk.site_id, clerk.name) for clerk in working)
    result.parcels, result.cash = operator.states(parcels), operator.cash
    result.verified = verify.Verifier(
        client, lambda what, count: progress(f"verify: {what}"[:40], 0, 1)
    ).run(SETTLING_SECONDS)
    result.notes = operator.notes
    result.products = operator.products()
    return result


def _live(
    client: Client,
    scene: Scene,
    operator: Operator,
    working: list[Clerk],
    day: Day,
    steps: int,
    result: Result,
) -> list[str]:
    """Let clerks, buyers and operator work at the same time; return the parcels' order ids."""
    site_ids = sorted({desk.site_id for desk in scene.desks})
    buyers = [
        Buyer(
            number,
            client,
            Random(f"{result.seed}/buyer/{number}"),
            scene.goods,
            site_ids,
            scene.centre_id,
            day.wait,
        )
        for number in range(1, BUYERS + 1)
    ]

    def work(clerk: Clerk) -> None:
        for step in range(steps):
            clerk.live(step)
            if not day.tick():
                return

    parcels = operator.send_parcels()
    with ThreadPoolExecutor(len(working)) as pool:
        list(pool.map(Clerk.enrol, working))
        list(pool.map(operator.grant_first, scene.desks))
        list(pool.map(Clerk.begin, working))
    with ThreadPoolExecutor(len(working) + BUYERS + 1) as pool:
        running: list[Future[Any]] = [pool.submit(work, clerk) for clerk in working]
        running.append(pool.submit(operator.work, day.wait_until))
        running += [
            pool.submit(
                buyer.buy,
                lambda orders: day.wait_until(min(1, orders / PACED_ORDERS) * PACED_UNTIL),
            )
            for buyer in buyers
        ]
        try:
            for future in as_completed(running):
                future.result()
        except BaseException:
            day.stop()
            raise
    with ThreadPoolExecutor(BUYERS) as pool:
        for states in pool.map(Buyer.states, buyers):
            result.orders += states
    return parcels


def _come_home(
    operator: Operator,
    working: list[Clerk],
    result: Result,
    progress: Callable[[str, int, int], None],
) -> None:
    """Sync all devices, replace the restored one, settle its disputes, and compare."""
    for clerk in working:
        clerk.link.set_up()
        clerk.end_shift()
    _sync(working, progress)
    operator.await_judgement()
    for clerk in working:
        if clerk.is_restored:
            # The counted stock becomes free, and covers the stock that was sold twice.
            old_epoch = clerk.till.store.epoch
            clerk.begin_anew(operator.replace(clerk.desk))
            operator.count_off(clerk.desk, old_epoch)
            result.disputed += operator.settle(clerk.desk)
            _sell_again(operator, clerk)
    deadline = monotonic() + SETTLING_SECONDS
    pause = threading.Event()
    while True:
        _sync(working, progress)
        operator.await_judgement()
        result.wrong = differences(operator, result.endings)
        if not result.wrong or monotonic() > deadline:
            return
        progress(f"waiting: {result.wrong[0]}"[:40], 0, 1)
        pause.wait(LOOK)


def _sync(working: list[Clerk], progress: Callable[[str, int, int], None]) -> None:
    """Let every device send its data; after a time-out the comparison finds what is missing."""
    deadline = monotonic() + SETTLING_SECONDS
    pause = threading.Event()
    while True:
        with ThreadPoolExecutor(8) as pool:
            home = sum(pool.map(Clerk.come_home, working))
        progress("devices sync", home, len(working))
        if home == len(working) or monotonic() > deadline:
            return
        pause.wait(LOOK)


def _sell_again(operator: Operator, clerk: Clerk) -> None:
    """Let a replaced device sell a little."""
    for goods in clerk.desk.goods:
        operator.top_up(clerk.desk, goods.lot_id)
    clerk.come_home()
    clerk.sell_again()


def differences(operator: Operator, endings: Iterable[Ending]) -> list[str]:
    """Return where the centre and a device disagree about an allotment, one sentence each."""
    wrong = []
    for ending in endings:
        store = ending.till.store
        there = {
            each["allotment_id"]: each["remaining"]
            for each in operator.allotments(ending.desk.device_id)
            if each["epoch"] == store.epoch and each["status"] != "closed"
        }
        here = store.remaining()
        for allotment_id in sorted(there.keys() | here.keys()):
            if there.get(allotment_id, 0) != here.get(allotment_id, 0):
                wrong.append(
                    f"{store.device_code}: of allotment {allotment_id} it has "
                    f"{here.get(allotment_id, 0)} left, the centre says "
                    f"{there.get(allotment_id, 0)}"
                )
        if store.unsynced:
            wrong.append(f"{store.device_code}: {len(store.unsynced)} entries were not sent")
    return wrong
