"""Take one order of the demo through its story, as buyer, clerk and carrier would."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any

from demo.payments import Provider
from demo.planning import PlannedOrder
from demo.stories import WAITING, Goods, Step, Story
from farmgate.client import Client
from farmgate.failures import Failed, Refused
from shared.runtime import clock

#: Seconds to wait for the system to take one step by itself.
PATIENCE = 90.0
#: Seconds between two queries while waiting.
LOOK = 0.1
#: The demo waits for an order's expiry if it comes within so many seconds.
WORTH_WAITING = 60.0
#: The name of the person who receives the goods.
RECEIVER = "示例买家"
#: Refusals while orders does not know a new site, variant or price yet, which takes seconds.
NOT_HEARD_YET = ("unknown-site", "unknown-variant", "no-price")
HEARING_SECONDS = 30.0


@dataclass
class Lived:
    """What became of one planned order."""

    planned: PlannedOrder
    story: Story
    order_id: str = ""
    order_ref: str = ""
    state: str = ""
    payment_state: str = ""
    #: What went wrong; None if the order ended as its story does.
    trouble: str | None = None

    @property
    def left(self) -> Goods:
        """Where its goods are in the end."""
        return self.story.goods


class Stuck(Exception):
    """Raised when the system does not take a step in time; names the step."""


class Life:
    """Takes orders through their stories."""

    def __init__(self, client: Client, provider: Provider, stopping: threading.Event) -> None:
        self._client = client
        self._provider = provider
        self._stopping = stopping

    def live(self, planned: PlannedOrder) -> Lived:
        """Place the order and take it through its story; return an error in `trouble`."""
        lived = Lived(planned, planned.story)
        try:
            order = self._place(planned)
            lived.order_id, lived.order_ref = order["order_id"], order["order_ref"]
            order = self._await_order(
                lived.order_id, "a decision", lambda o: o["state"] != "placed"
            )
            if planned.story.steps and order["state"] == "rejected":
                raise Stuck("rejected, though there was stock")
            for step in planned.story.steps:
                if step is Step.EXPIRE and _seconds_left(order) > WORTH_WAITING:
                    lived.story = WAITING
                    break
                self._take(step, lived.order_id, order)
            self._settle(lived)
        except (Stuck, Failed) as error:
            lived.trouble = getattr(error, "message", None) or str(error)
        return lived

    def _place(self, planned: PlannedOrder) -> dict[str, Any]:
        deadline = monotonic() + HEARING_SECONDS
        while True:
            try:
                order = self._client.post(
                    "orders", "/orders", planned.request, headers={"Prefer": "wait=10"}
                )
                break
            except Refused as error:
                if error.kind not in NOT_HEARD_YET or monotonic() > deadline:
                    raise
            self._pause()
        approve(self._client, order)
        return dict(order)

    def _take(self, step: Step, order_id: str, order: dict[str, Any]) -> None:
        match step:
            case Step.PAY | Step.PAY_LATE:
                self._pay(order, "paid")
                self._await_state(order_id, "confirmed")
            case Step.PAYMENT_FAILS:
                self._pay(order, "failed")
            case Step.EXPIRE:
                self._await_state(order_id, "expired")
            case Step.CANCEL:
                body = {"reason": "changed_mind"}
                self._client.post("orders", f"/orders/{order_id}/cancel", body)
            case _:
                self._move(step, order_id, order)

    def _pay(self, order: dict[str, Any], status: str) -> None:
        order_id, amount = order["order_id"], order["total_fen"]
        self._provider.report(order_id, amount, status, f"demo-{status}-{order_id}")

    def _move(self, step: Step, order_id: str, order: dict[str, Any]) -> None:
        shipment = self._await_shipment(order_id)
        path = f"/shipments/{shipment['shipment_id']}"
        due = shipment["due_fen"]
        action, body = {
            Step.PACK: ("pack", {}),
            Step.DISPATCH: ("dispatch", {}),
            Step.ARRIVE: ("arrivals", {"site_id": shipment["site_id"]}),
            Step.HAND_OVER: (
                "collect" if shipment["collect"] else "deliver",
                {"received_by": RECEIVER, "collected_fen": due},
            ),
            Step.FAIL: ("fail", {"reason": "absent"}),
            Step.RETURN: ("return", {"restock": True}),
            Step.WRITE_OFF: ("return", {"restock": False}),
        }[step]
        self._client.post("logistics", f"{path}/{action}", body)

    def _await_shipment(self, order_id: str) -> dict[str, Any]:
        deadline = monotonic() + PATIENCE
        while True:
            items = self._client.get("logistics", "/shipments", order_id=order_id)["items"]
            if items:
                return dict(items[0])
            if monotonic() > deadline:
                raise Stuck("waited for logistics to plan the shipment")
            self._pause()

    def _settle(self, lived: Lived) -> None:
        order = self._await_state(lived.order_id, lived.story.ending)
        lived.state, lived.payment_state = order["state"], order["payment_state"]

    def _await_state(self, order_id: str, *states: str) -> dict[str, Any]:
        return self._await_order(order_id, " or ".join(states), lambda o: o["state"] in states)

    def _await_order(
        self, order_id: str, what: str, is_so: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        deadline = monotonic() + PATIENCE
        while True:
            order = dict(self._client.get("orders", f"/orders/{order_id}"))
            if is_so(order):
                return order
            if monotonic() > deadline:
                raise Stuck(f"is {order['state']}; waited {PATIENCE:.0f} s for {what}")
            self._pause()

    def _pause(self) -> None:
        if self._stopping.wait(LOOK):
            raise Stuck("stopped")


def approve(client: Client, order: Mapping[str, Any]) -> None:
    """Approve the order if it waits for approval, as an order for too much does."""
    if order["awaits_approval"]:
        client.post("orders", f"/orders/{order['order_id']}/approve", {})


def _seconds_left(order: dict[str, Any]) -> float:
    expires_at = order.get("expires_at")
    if expires_at is None:
        return float("inf")
    return (datetime.fromisoformat(expires_at) - clock.now()).total_seconds()
