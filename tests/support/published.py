"""Events as they were published: both demos run, and the few facts that no demo leads to.

`python -m tests.support.published` records them: a real example of each public type in
`shared/events/examples`, which documents and pages show, and one of each new type in
`tests/contracts/examples`, which stays for good: it stands for the events that are stored already,
and later contracts must go on reading it.
"""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

from stripe import WebhookSignature

from farmgate.client import Client, connect
from shared.events.description import EXAMPLES, PUBLIC
from shared.runtime import api_keys, clock
from shared.runtime.ids import new_id
from tests.support.processes import SERVICES, Processes, embedded
from tests.support.servers import wait_until

#: A setting that `run_both_demos` needs.
STRIPE = {"FARMGATE_STRIPE_WEBHOOK_SECRET": "whsec_recorded"}
RECORDED = Path(__file__).parent.parent / "contracts" / "examples"


def run_both_demos(system: Processes) -> None:
    """Let the demos run on an embedded system with the sample, and do what they leave out."""
    for arguments in (["--orders", "60"], ["--offline"]):
        done = system.command("demo", *arguments, "--json")
        assert done.returncode == 0, done.stderr[-3000:]
    _do_the_rest(system, connect(system.environment))


def _do_the_rest(system: Processes, operator: Client) -> None:
    """Close a site, withdraw a product, spoil goods, hand over a parcel that is not there."""
    site = operator.post(
        "logistics", "/sites", {"code": "C-2", "level": "centre", "names": {"zh": "二号中心"}}
    )
    product = next(iter(operator.pages("catalog", "/products")))
    level = next(each for each in operator.pages("catalog", "/stock") if each["on_hand"] > 10_000)
    spoiled = {name: level[name] for name in ("lot_id", "location_id")}
    operator.post(
        "catalog",
        "/stock/adjustments",
        spoiled | {"difference": -500, "reason": "spoiled", "book": level["on_hand"]},
    )
    operator.post("catalog", f"/products/{product['product_id']}/withdraw")
    _order_as_a_partner(system, operator)
    _win_a_chargeback(system, operator)
    wait_until(lambda: _is_known(operator, site["site_id"]), 20, "catalog knows the site")
    _hand_over_nothing(system, operator, site["site_id"])
    operator.post("logistics", f"/sites/{site['site_id']}/close")
    wait_until(lambda: set(types_in(system)) >= LEFT_OUT, 20, "all is published")


#: What the demos do not lead to.
LEFT_OUT = {
    "logistics.site_closed.v1",
    "catalog.product_withdrawn.v1",
    "catalog.stock_adjusted.v1",
    "logistics.hand_over_refused.v1",
    "orders.refund_reversed.v1",
}


def _win_a_chargeback(system: Processes, operator: Client) -> None:
    """Pay an order by Stripe; the buyer's bank takes a part back, and loses the dispute."""
    site = next(s for s in operator.pages("logistics", "/sites") if s["level"] == "township")
    contact = {"name": "卓玛", "phone": "+8613800138001", "language": "zh"}
    for listed in operator.pages("catalog", "/availability"):
        body = {
            "channel": "online",
            "payment_method": "prepaid",
            "site_id": site["site_id"],
            "collect": True,
            "lines": [{"variant_id": listed["variant_id"], "quantity": listed["pack_quantity"]}],
            "contact": contact,
        }
        answer = operator.send("POST", "orders", "/orders", body=body)
        if answer.ok:
            break
    order = answer.json()
    intent = {"id": "pi_3P1", "amount": order["total_fen"], "currency": "cny"}
    dispute = {"id": "dp_1P1", "payment_intent": "pi_3P1", "amount": 1, "currency": "cny"}
    for kind, found in (
        ("payment_intent.succeeded", intent | {"metadata": {"order_id": order["order_id"]}}),
        ("charge.dispute.created", dispute | {"status": "needs_response"}),
        ("charge.dispute.closed", dispute | {"status": "won"}),
    ):
        body = json.dumps({"type": kind, "data": {"object": found}})
        signature = WebhookSignature.generate_signature_header(body, *STRIPE.values())
        operator.call(
            "POST",
            "orders",
            "/payments/callbacks/stripe",
            content=body.encode(),
            headers={"Content-Type": "application/json", "Stripe-Signature": signature},
        )


def _order_as_a_partner(system: Processes, operator: Client) -> None:
    """Place orders with a partner's own numbers, one of each sellable variant, and cancel them."""
    issued = system.command("tokens", "issue", "--subject", "market", "--role", "channel", "--json")
    partner = Client(system.urls, json.loads(issued.stdout)["token"])
    site = next(s for s in operator.pages("logistics", "/sites") if s["level"] == "township")
    states = set()
    for number, listed in enumerate(partner.pages("catalog", "/availability"), 417):
        order = {
            "external_ref": f"SO-2026-{number:06}",
            "buyer_id": "b-17",
            "payment_method": "cash_on_delivery",
            "site_id": site["site_id"],
            "collect": True,
            "lines": [{"variant_id": listed["variant_id"], "quantity": listed["pack_quantity"]}],
            "contact": {"name": "卓玛", "phone": "+8613800138000"},
        }
        answer = partner.send(
            "POST", "orders", "/orders", body=order, headers={"Prefer": "wait=20"}
        )
        if answer.ok:
            states.add(answer.json()["state"])
            partner.post(
                "orders", f"/orders/{answer.json()['order_id']}/cancel", {"reason": "changed_mind"}
            )
        if "confirmed" in states:
            return
    raise AssertionError(f"no order of the partner was confirmed: {states}")


def _is_known(operator: Client, site_id: str) -> bool:
    devices = {"site_id": site_id, "name": "柜台"}
    return operator.send("POST", "catalog", "/devices", body=devices).ok


def _hand_over_nothing(system: Processes, operator: Client, site_id: str) -> None:
    device = operator.post("catalog", "/devices", {"site_id": site_id, "name": "柜台"})
    secret = api_keys.new_secret()
    given = {"code": device["enrolment_code"], "secret": secret}
    enrolled = operator.post("catalog", "/till/enrol", given)
    till = Client(system.urls, api_keys.token_of(UUID(enrolled["key_id"]), secret))
    entry = {
        "number": 1,
        "kind": "hand_over",
        "device_time": clock.rfc3339(clock.now()),
        "clerk": "扎西",
        "shift": 1,
        "shipment_id": str(new_id()),
        "code": "123456",
        "received_by": None,
        "collected_fen": 0,
        "payment": "cash",
    }
    upload = {"format": 1, "entries": [entry]}
    wait_until(
        lambda: till.send("POST", "orders", "/till/entries", body=upload).ok,
        20,
        "orders knows the till",
    )


def bodies_in(system: Processes) -> Iterator[bytes]:
    """Yield the events that an embedded system recorded."""
    for service in SERVICES:
        with closing(sqlite3.connect(system.folder / "var" / f"{service}.db")) as database:
            yield from (bytes(body) for (body,) in database.execute("SELECT body FROM outbox"))


def types_in(system: Processes) -> list[str]:
    """Return the types of these events."""
    return [json.loads(body)["type"] for body in bodies_in(system)]


def _told(value: Any) -> int:
    """Return how much JSON says: its values that are not null."""
    if isinstance(value, dict):
        return sum(map(_told, value.values()))
    if isinstance(value, list):
        return max(map(_told, value), default=0)
    return int(value is not None)


def main() -> None:
    """Run the demos and record the events; keep an example that says as much as a new one."""
    with (
        TemporaryDirectory() as folder,
        embedded(
            Path(folder),
            FARMGATE_ORDERS_HOLD_SECONDS="4",
            FARMGATE_STRIPE_WEBHOOK_SECRET="whsec_recorded",
        ) as system,
    ):
        system.start()
        loaded = system.command("sample", "load", "--json")
        assert loaded.returncode == 0, loaded.stderr
        run_both_demos(system)
        found = defaultdict(list)
        for body in bodies_in(system):
            found[json.loads(body)["type"]].append(body)
    for type_, bodies in sorted(found.items()):
        # The one that says most; of these the shortest.
        best = max(bodies, key=lambda body: (_told(json.loads(body)), -len(body)))
        _record(RECORDED / f"{type_}.json", best, anew=False)
        if type_ in PUBLIC:
            _record(EXAMPLES / f"{type_}.json", best, anew=True)


def _record(path: Path, body: bytes, *, anew: bool) -> None:
    if path.exists() and not (
        anew and _told(json.loads(path.read_bytes())) < _told(json.loads(body))
    ):
        return
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(body + b"\n")
    print(path)


if __name__ == "__main__":
    main()
