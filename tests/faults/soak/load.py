"""Buyers, a payment provider and stations that go on whatever happens, and note what was said.

Every request is repeated with the same key until it is answered. What was answered is what the
ledger holds the system to.
"""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from time import monotonic
from typing import Any
from uuid import uuid4

from demo.living import NOT_HEARD_YET
from demo.offline.buyers import order_of
from demo.offline.clerk import Clerk
from demo.offline.link import Line, Link, Weather
from demo.offline.operator import Operator
from demo.offline.scene import Goods, Scene
from demo.payments import Provider
from farmgate.client import Client
from farmgate.failures import Failed, Refused, Unreachable

BUYERS, DESKS = 6, 6
#: What becomes of an order, by weight.
STORIES = {"deliver": 40, "cancel": 15, "pay": 25, "pay twice": 5, "fail": 5, "forget": 10}
#: Seconds a buyer thinks between orders, and a clerk between steps, at most.
BUYER_PAUSE, CLERK_PAUSE = 0.6, 1.2
#: Of all orders, one in so many is for goods of which there are too few for everybody.
SCARCE_EVERY = 4
#: Packs at the centre of what is plentiful; packs and seconds of each delivery of what is scarce.
PLENTY, SCARCE_PACKS, SCARCE_SECONDS = 20_000, 4, 3.0
#: Seconds until an order must have been decided after all faults were healed.
DECIDED = 240.0
LOOK = 0.2


@dataclass
class Said:
    """What the system has acknowledged, and what was asked without an answer."""

    #: Buyer's number → id of the order, None while nobody has answered.
    orders: dict[str, str | None] = field(default_factory=dict)
    #: Payment reference → (order id, status), of those acknowledged.
    payments: dict[str, tuple[str, str]] = field(default_factory=dict)
    #: References of payments that were reported without an answer.
    unsure_payments: set[str] = field(default_factory=set)
    #: Orders whose cancelling was acknowledged.
    cancelled: set[str] = field(default_factory=set)
    #: Answers that nobody should get, in words.
    wrong: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    #: Packs of the scarce goods that were delivered to the centre.
    scarce: int = 0

    @property
    def count(self) -> int:
        """How many operations were acknowledged."""
        orders = sum(order_id is not None for order_id in self.orders.values())
        return orders + len(self.payments) + len(self.cancelled)


class Load:
    """All of them, from `start` to `stop`."""

    def __init__(
        self, client: Client, provider: Provider, scene: Scene, scarce: Goods, seed: int
    ) -> None:
        self.said = Said()
        self._client, self._provider = client, provider
        self._scene, self._scarce, self._seed = scene, scarce, seed
        self._turn = threading.Lock()
        self._numbers = iter(range(1, 10_000_000))
        self._stopping = threading.Event()
        self.operator = Operator(client, scene, Random(f"{seed}/operator"))
        self.clerks = [
            Clerk(
                desk,
                Link(Line(client.addresses), Random(f"{seed}/desk/{desk.number}"), Weather()),
                Random(f"{seed}/clerk/{desk.number}"),
                self._top_up,
                is_restored=False,
            )
            for desk in scene.desks[:DESKS]
        ]
        self._sites = [desk.site_id for desk in scene.desks]
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Enrol the devices, and let everybody begin."""
        with ThreadPoolExecutor(DESKS) as pool:
            list(pool.map(Clerk.enrol, self.clerks))
            list(pool.map(lambda clerk: self.operator.grant_first(clerk.desk), self.clerks))
            list(pool.map(Clerk.begin, self.clerks))
        work = [lambda number=number: self._buy(number) for number in range(BUYERS)]
        work += [lambda clerk=clerk: self._work(clerk) for clerk in self.clerks]
        work.append(self._deliver)
        for each in work:
            thread = threading.Thread(target=self._noted, args=(each,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Let everybody finish what they are at; devices send what they have."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(DECIDED)
            if thread.is_alive():
                self._tell(f"{thread.name} did not finish in {DECIDED:.0f} s")
        deadline = monotonic() + DECIDED
        for clerk in self.clerks:
            clerk.link.set_up()
        while monotonic() < deadline:
            with ThreadPoolExecutor(DESKS) as pool:
                if all(pool.map(Clerk.come_home, self.clerks)):
                    return
            threading.Event().wait(LOOK)
        self._tell("not every device could send what it had")

    # --- Buyers -------------------------------------------------------------------------------

    def _buy(self, number: int) -> None:
        random = Random(f"{self._seed}/buyer/{number}")
        while not self._stopping.wait(random.uniform(0.05, BUYER_PAUSE)):
            with self._turn:
                order = next(self._numbers)
                buyer = f"soak-{order}"
                self.said.orders[buyer] = None
            story = random.choices(list(STORIES), list(STORIES.values()))[0]
            with suppress(Unreachable):  # noted as unanswered
                self._live(buyer, order, story, random)

    def _live(self, buyer: str, number: int, story: str, random: Random) -> None:
        is_scarce = random.randrange(SCARCE_EVERY) == 0
        goods = self._scarce if is_scarce else random.choice(self._scene.goods)
        body = order_of(goods, random.randint(1, 3), random.choice(self._sites), buyer, number)
        if story in ("pay", "pay twice", "fail", "forget"):
            body["payment_method"] = "prepaid"
        order = self._place(body)
        self.said.orders[buyer] = order["order_id"]
        if story == "cancel":
            self._cancel(order)
        elif story in ("pay", "pay twice", "fail"):
            order = self._decided(order)
            if order["state"] != "rejected":
                for _ in range(2 if story == "pay twice" else 1):
                    self._pay(order, "failed" if story == "fail" else "paid")

    def _place(self, body: dict[str, Any]) -> dict[str, Any]:
        key = str(uuid4())
        while True:
            try:
                answer = self._client.post(
                    "orders", "/orders", body, key=key, headers={"Prefer": "wait=2"}
                )
                return dict(answer)
            except Refused as error:
                if error.kind not in NOT_HEARD_YET or self._stopping.wait(LOOK):
                    raise
                # A refusal is an answer: the same key would get it again.
                key = str(uuid4())

    def _cancel(self, order: dict[str, Any]) -> None:
        order_id = order["order_id"]
        try:
            self._client.post("orders", f"/orders/{order_id}/cancel", {"reason": "changed_mind"})
        except Refused as error:
            if error.status != 409:
                raise
            self.said.refused[error.kind] += 1
        else:
            self.said.cancelled.add(order_id)

    def _decided(self, order: dict[str, Any]) -> dict[str, Any]:
        deadline = monotonic() + DECIDED
        while order["state"] == "placed":
            if monotonic() > deadline:
                raise Failed(f"order {order['order_ref']} is not decided after {DECIDED:.0f} s")
            threading.Event().wait(LOOK)
            order = dict(self._client.get("orders", f"/orders/{order['order_id']}"))
        return order

    def _pay(self, order: dict[str, Any], status: str) -> None:
        order_id = order["order_id"]
        reference = f"soak-{uuid4()}"
        self.said.unsure_payments.add(reference)
        try:
            self._provider.report(order_id, order["total_fen"], status, reference)
        except Refused as error:
            if error.status != 409:
                raise
            self.said.refused[error.kind] += 1
        else:
            self.said.payments[reference] = (order_id, status)
        self.said.unsure_payments.discard(reference)

    # --- Stations and the centre --------------------------------------------------------------

    def _work(self, clerk: Clerk) -> None:
        pause = Random(f"{self._seed}/pause/{clerk.desk.number}")
        step = 0
        while not self._stopping.wait(pause.uniform(0.2, CLERK_PAUSE)):
            clerk.live(step)
            step += 1

    def _top_up(self, desk: Any, lot_id: str) -> None:
        with suppress(Unreachable):
            self.operator.top_up(desk, lot_id)

    def _deliver(self) -> None:
        """Bring a little of what is scarce, again and again."""
        while not self._stopping.wait(SCARCE_SECONDS):
            try:
                receive(self._client, self._scene.centre_id, self._scarce, SCARCE_PACKS)
            except Unreachable:
                self._tell("a delivery of goods was not answered")
            self.said.scarce += SCARCE_PACKS

    # --- Notes --------------------------------------------------------------------------------

    def _noted(self, work: Any) -> None:
        while not self._stopping.is_set():
            try:
                work()
            except (Failed, Refused) as error:
                self._tell(f"{type(error).__name__}: {error.message}")
            except Exception as error:
                self._tell(repr(error))

    def _tell(self, text: str) -> None:
        with self._turn:
            self.said.wrong.append(text)


def receive(client: Client, centre_id: str, goods: Goods, packs: int) -> None:
    """Bring packs of a lot to the centre."""
    body = {"lot_id": goods.lot_id, "location_id": centre_id}
    client.post("catalog", "/stock/receipts", body | {"quantity": packs * goods.pack_quantity})
