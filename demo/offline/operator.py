"""The operator of the offline demo: grants, holds, recalls, settles and counts, over HTTP."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from random import Random
from time import monotonic
from typing import Any

from demo.living import LOOK, PATIENCE, approve
from demo.offline.buyers import order_of, place
from demo.offline.scene import PACKS_GRANTED, Desk, Goods, Scene
from demo.planning import EXCESSIVE
from farmgate.client import Client
from farmgate.failures import Failed, Refused

#: Packs of one top-up.
PACKS_MORE = 3
#: When the operator holds and releases one lot, and recalls another, as shares of the day.
HELD_AT, RELEASED_AT, RECALLED_AT = 0.3, 0.5, 0.6
#: One clerk of so many hands on less than was taken, and by how many fen.
SHORT_EVERY, SHORT_FEN = 7, 100


class Operator:
    """Does the work of the people at the centre while stations sell."""

    def __init__(self, client: Client, scene: Scene, random: Random) -> None:
        #: Sentences about what happened, for the report.
        self.notes: list[str] = []
        self.refused: Counter[str] = Counter()
        self._client = client
        self._scene = scene
        self._random = random
        #: Stations' cash that was taken, given back, handed on and missing, in fen.
        self.cash: Counter[str] = Counter()
        self._turn = threading.Lock()
        self._pause = threading.Event()

    # --- Allotments ---------------------------------------------------------------------------

    def grant_first(self, desk: Desk) -> None:
        """Grant a device its first allotments."""
        for goods in desk.goods:
            self.grant(desk.device_id, goods, PACKS_GRANTED)

    def top_up(self, desk: Desk, lot_id: str) -> None:
        """Grant a device more of a lot, if there is free stock."""
        goods = next(goods for goods in desk.goods if goods.lot_id == lot_id)
        try:
            self.grant(desk.device_id, goods, PACKS_MORE)
        except Refused as refusal:
            if refusal.status != 409:
                raise
            with self._turn:
                self.refused[refusal.kind] += 1

    def grant(self, device_id: str, goods: Goods, packs: int) -> None:
        """Allot packs of a lot to a device.

        Raises:
            Refused: there is too little free stock, or the lot is not for sale.
        """
        body = {
            "device_id": device_id,
            "lot_id": goods.lot_id,
            "quantity": packs * goods.pack_quantity,
        }
        self._client.post("catalog", "/allotments", body)

    def allotments(self, device_id: str) -> list[dict[str, Any]]:
        """Return all of a device's allotments, of all its epochs."""
        return list(self._client.pages("catalog", "/allotments", device_id=device_id))

    # --- Parcels ------------------------------------------------------------------------------

    def send_parcels(self) -> list[str]:
        """Bring parcels to stations, one to each site; return the ids of their orders.

        The buyers collect them while the station is cut off.
        """
        order_ids = []
        for number, desk in enumerate(desk for desk in self._scene.desks if desk.has_parcels):
            body = order_of(
                self._random.choice(desk.goods), 1, desk.site_id, "offline-parcel", number
            )
            body |= {"collect": True, "payment_method": "cash_at_station"}
            del body["contact"]["address"]
            order = place(self._client, body, self._pause.wait)
            order_ids.append(order["order_id"])
            shipment = self._await_shipment(order["order_id"])
            path = f"/shipments/{shipment['shipment_id']}"
            for action, facts in (
                ("pack", {}),
                ("dispatch", {}),
                ("arrivals", {"site_id": desk.site_id}),
            ):
                self._client.post("logistics", f"{path}/{action}", facts)
        return order_ids

    def _await_shipment(self, order_id: str) -> dict[str, Any]:
        deadline = monotonic() + PATIENCE
        while True:
            items = self._client.get("logistics", "/shipments", order_id=order_id)["items"]
            if items:
                return dict(items[0])
            if monotonic() > deadline:
                raise Failed(f"Order {order_id} was not planned in {PATIENCE:.0f} s.")
            self._pause.wait(LOOK)

    def states(self, order_ids: list[str]) -> Counter[str]:
        """Return how many of the orders are in each state now."""
        found = (self._client.get("orders", f"/orders/{each}") for each in order_ids)
        return Counter(order["state"] for order in found)

    # --- Cash -----------------------------------------------------------------------------------

    def take_cash(self, clerks: Iterable[tuple[str, str]]) -> None:
        """Hand on the cash of clerks (site id, name) to the centre; some have too little."""
        wanted = set(clerks)
        for number, custody in enumerate(self._client.pages("orders", "/cash/custody"), start=1):
            named = {"site_id": custody["site_id"], "clerk": custody["clerk"]}
            if (custody["site_id"], custody["clerk"]) not in wanted:
                continue
            held = custody["held_fen"]
            short = SHORT_FEN if number % SHORT_EVERY == 0 and held > SHORT_FEN else 0
            if held > 0:
                counts = {"sent_fen": held, "counted_fen": held - short}
                reason = {"reason": "清点短款"} if short else {}
                self._client.post("orders", "/cash/remittances", named | counts | reason)
            self.cash.update(
                taken=custody["collected_fen"],
                given_back=custody["refunded_fen"],
                handed_on=max(0, held) - short,
                missing=short,
            )

    # --- Lots ---------------------------------------------------------------------------------

    def work(self, wait_until: Callable[[float], bool]) -> None:
        """Hold and release one lot, and recall another, each at its time of the day."""
        held, recalled = self._scene.goods[0], self._scene.goods[-1]
        if wait_until(HELD_AT):
            self._stop(held, "hold", "检验中")
        if wait_until(RELEASED_AT):
            self._client.post("catalog", f"/lots/{held.lot_id}/release")
        if wait_until(RECALLED_AT):
            self._stop(recalled, "recall", "质量问题")

    def _stop(self, goods: Goods, how: str, reason: str) -> None:
        self._client.post("catalog", f"/lots/{goods.lot_id}/{how}", {"reason": reason})
        allotments = list(self._client.pages("catalog", "/allotments", lot_id=goods.lot_id))
        unaware = sum(not allotment["heard"] for allotment in allotments)
        past = {"hold": "held", "recall": "recalled"}[how]
        self.notes.append(
            f"{goods.product} {goods.lot_code} was {past}: {len(allotments)} devices had some "
            f"of it; right afterwards {unaware} of them did not know it yet."
        )

    def await_judgement(self) -> None:
        """Wait until catalog has judged all sent entries, and orders has processed the result.

        An order for too much serves as a marker: its events take the same way, behind the others.
        """
        goods, site_id = self._scene.goods[0], self._scene.desks[0].site_id
        order = self._client.post(
            "orders",
            "/orders",
            order_of(goods, EXCESSIVE // goods.pack_quantity, site_id, "offline-marker", 0),
            headers={"Prefer": "wait=10"},
        )
        approve(self._client, order)
        deadline = monotonic() + PATIENCE
        while order["state"] == "placed":
            if monotonic() > deadline:
                raise Failed(f"Order {order['order_ref']} was not decided in {PATIENCE:.0f} s.")
            self._pause.wait(LOOK)
            order = self._client.get("orders", f"/orders/{order['order_id']}")

    # --- What is disputed -----------------------------------------------------------------------

    def settle(self, desk: Desk) -> list[dict[str, Any]]:
        """Decide each open overdraft of a device; return the decisions and their reasons.

        The operator covers an overdraft from stock if there is enough, and else books a loss.
        """
        settled = []
        overdrafts = self._client.pages(
            "catalog", "/overdrafts", device_id=desk.device_id, open=True
        )
        for overdraft in list(overdrafts):
            path = f"/overdrafts/{overdraft['sale_id']}/settle"
            resolution = "cover"
            try:
                self._client.post(
                    "catalog", path, {"resolution": "cover", "reason": "清点后货物相符"}
                )
            except Refused as refusal:
                if refusal.kind != "out-of-stock":
                    raise
                resolution = "lose"
                self._client.post("catalog", path, {"resolution": "lose", "reason": "无货可抵"})
            settled.append(
                {
                    "device": desk.device_code,
                    "epoch": overdraft["epoch"],
                    "number": overdraft["number"],
                    "reason": overdraft["reason"],
                    "goods": self._describe(overdraft["lines"]),
                    "settled": {"cover": "covered", "lose": "lost"}[resolution],
                }
            )
        return settled + self._acknowledge(desk)

    def _acknowledge(self, desk: Desk) -> list[dict[str, Any]]:
        """Acknowledge disputed entries of a device that moved no goods, such as shifts."""
        noted = []
        entries = self._client.pages(
            "orders", "/station-sales", device_id=desk.device_id, status="disputed"
        )
        for entry in list(entries):
            if entry["kind"] == "sale" and not entry["voided"]:
                continue  # `settle` decides it, and an event tells orders
            path = f"/station-sales/{entry['sale_id']}/acknowledge"
            self._client.post("orders", path, {"note": "已核对"})
            noted.append(
                {
                    "device": desk.device_code,
                    "epoch": entry["epoch"],
                    "number": entry["number"],
                    "reason": entry["reason"],
                    "goods": f"({entry['kind']})",
                    "settled": "noted",
                }
            )
        return noted

    def _describe(self, lines: list[dict[str, Any]]) -> str:
        goods = {each.lot_id: each for each in self._scene.goods}
        return ", ".join(
            f"{line['quantity']} {goods[line['lot_id']].unit} {goods[line['lot_id']].product}"
            for line in lines
        )

    # --- A device that is replaced ----------------------------------------------------------------

    def replace(self, desk: Desk) -> str:
        """Return the code by which another machine takes the device's place."""
        return str(
            self._client.post("catalog", f"/devices/{desk.device_id}/enrolment")["enrolment_code"]
        )

    def count_off(self, desk: Desk, epoch: int) -> None:
        """Count the stock that an earlier epoch left: all of it is there, and becomes free."""
        for allotment in self.allotments(desk.device_id):
            if allotment["epoch"] == epoch and allotment["status"] != "closed":
                path = f"/allotments/{allotment['allotment_id']}"
                body = {"counted": allotment["remaining"], "reason": "设备更换，现场清点"}
                self._client.post("catalog", f"{path}/write-off", body)

    # --- What came of the goods -------------------------------------------------------------------

    def products(self) -> list[dict[str, Any]]:
        """Return what became of each lot of the demo, in its variant's unit."""
        found = []
        for goods in self._scene.goods:
            levels = list(self._client.pages("catalog", "/stock", lot_id=goods.lot_id))
            allotments = list(self._client.pages("catalog", "/allotments", lot_id=goods.lot_id))
            movements = Counter[tuple[str, str]]()
            shipped = 0
            for movement in self._client.pages("catalog", "/stock/movements", lot_id=goods.lot_id):
                movements[movement["from_bucket"], movement["to_bucket"]] += movement["quantity"]
                if movement["to_bucket"] == "consumed" and movement["order_id"] is not None:
                    shipped += movement["quantity"]
            found.append(
                {
                    "product": goods.product,
                    "sku": goods.sku,
                    "lot": goods.lot_code,
                    "unit": goods.unit,
                    "received": sum(
                        n for (source, _), n in movements.items() if source == "received"
                    ),
                    "sold_at_stations": sum(each["sold"] for each in allotments),
                    "came_back": sum(
                        n for (source, _), n in movements.items() if source == "restocked"
                    ),
                    "ordered_online": shipped
                    + sum(level["reserved"] + level["committed"] for level in levels),
                    "allotted": sum(level["allotted"] for level in levels),
                    "available": sum(level["available"] for level in levels),
                    "held": sum(level["held"] for level in levels),
                    "lost": sum(n for (_, target), n in movements.items() if target == "lost"),
                }
            )
        return found
