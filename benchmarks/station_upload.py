"""Station sales a second, from a till's upload to the stock they take.

Some tills upload what they sold while they were cut off, in pieces of 500, all at once; each sale
has one to three lines. Measured until the last is answered, and until catalog has booked all of
it; processor time is that of all processes, without the tills'.
"""

import http.client
import json
import multiprocessing
import random
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from multiprocessing.queues import Queue
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from benchmarks.figures import Figure
from benchmarks.surroundings import Surroundings, System, processor_seconds
from farmgate.client import Client
from farmgate.failures import Refused
from shared.runtime import api_keys, clock
from tests.support.servers import wait_until

PART = "station_upload"
TILLS = 4
#: Sales of one upload, as the till sends them.
PIECE = 500


@dataclass(frozen=True)
class Till:
    """One enrolled device with goods to sell: its key, and its allotments with their prices."""

    device_id: str
    token: str
    goods: tuple[dict[str, Any], ...]


def enrol(operator: Client, site_id: str, lots: list[str], quantity: int) -> Till:
    """Enrol a device and grant it `quantity` of each lot."""
    device = operator.post("catalog", "/devices", {"site_id": site_id, "name": "柜台"})
    secret = api_keys.new_secret()
    enrolled = operator.post(
        "catalog", "/till/enrol", {"code": device["enrolment_code"], "secret": secret}
    )
    token = api_keys.token_of(UUID(enrolled["key_id"]), secret)
    for lot_id in lots:
        operator.post(
            "catalog",
            "/allotments",
            {"device_id": enrolled["device_id"], "lot_id": lot_id, "quantity": quantity},
        )
    own = Client(operator.addresses, token)
    wait_until(lambda: _is_known(own), 30, "orders knows the till's key")
    heard = own.post(
        "catalog",
        "/till/contact",
        {
            "seen_revision": 0,
            "unsynced": 0,
            "oldest_unsynced_at": None,
            "last_number": 0,
            "device_time": clock.rfc3339(clock.now()),
            "app_version": "benchmark",
        },
    )
    prices = {variant["variant_id"]: variant for variant in heard["variants"]}
    goods = tuple(
        {
            **{name: allotment[name] for name in ("variant_id", "lot_id")},
            "price_fen": prices[allotment["variant_id"]]["price_fen"],
            "price_unit": prices[allotment["variant_id"]]["price_unit"],
        }
        for allotment in heard["allotments"]
        if allotment["lot_id"] in lots
    )
    return Till(enrolled["device_id"], token, goods)


def _is_known(till: Client) -> bool:
    try:
        till.get("orders", "/till/attention")
    except Refused:
        return False
    return True


def pieces(till: Till, sales: int) -> list[bytes]:
    """Return the bodies of a till's uploads: it opened a shift and sold `sales` times."""
    common = {"device_time": clock.rfc3339(clock.now()), "clerk": "卓玛", "shift": 1}
    entries: list[dict[str, Any]] = [
        {"number": 1, "kind": "shift_open", "float_fen": 20_000, **common}
    ]
    for number in range(2, sales + 2):
        lines = [
            {
                "line_no": line_no,
                **good,
                "quantity": 1,
                "line_total_fen": (2 * good["price_fen"] + good["price_unit"])
                // (2 * good["price_unit"]),
            }
            for line_no, good in enumerate(
                random.sample(till.goods, random.randint(1, min(3, len(till.goods)))), start=1
            )
        ]
        total = sum(line["line_total_fen"] for line in lines)
        sale = {"kind": "sale", "lines": lines, "total_fen": total, "payment": "cash"}
        entries.append({"number": number, **sale, **common})
    return [
        json.dumps({"format": 1, "entries": entries[begin : begin + PIECE]}).encode()
        for begin in range(0, len(entries), PIECE)
    ]


def _upload(url: str, token: str, bodies: list[bytes], answers: list[int]) -> None:
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=120)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    for body in bodies:
        connection.request("POST", "/api/orders/v1/till/entries", body, headers)
        answer = json.load(connection.getresponse())
        answers.append(sum(each["status"] == "accepted" for each in answer["answers"]))
    connection.close()


def _tills(url: str, uploads: list[tuple[str, list[bytes]]], result: "Queue[int]") -> None:
    answers: list[int] = []
    threads = [threading.Thread(target=_upload, args=(url, *each, answers)) for each in uploads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    result.put(sum(answers))


def upload(url: str, uploads: list[tuple[str, list[bytes]]]) -> int:
    """Let all tills upload at once; return how many entries were accepted.

    In a process of their own, so that they do not share our interpreter.
    """
    result: Queue[int] = multiprocessing.Queue()
    sender = multiprocessing.Process(target=_tills, args=(url, uploads, result))
    sender.start()
    accepted = result.get()
    sender.join()
    return accepted


def booked(operator: Client, tills: list[Till]) -> int:
    """Return how many grams and pieces catalog has booked as sold by these tills."""
    return sum(
        allotment["sold"]
        for till in tills
        for allotment in operator.pages("catalog", "/allotments", device_id=till.device_id)
    )


def _keeping_lots(operator: Client) -> list[dict[str, Any]]:
    """Return lots of three variants that keep for years."""
    by_variant = {
        lot["variant_id"]: lot
        for lot in operator.pages("catalog", "/lots", status="released")
        if lot["best_before"] > "2027-02"
    }
    return list(by_variant.values())[:3]


def _upload_all(surroundings: Surroundings, system: System, sales: int) -> dict[str, float]:
    """Upload `sales` from new tills, and return the figures by name."""
    operator = system.operator
    sites = list(operator.pages("logistics", "/sites"))
    site_id = next(each["site_id"] for each in sites if each["level"] == "township")
    centre_id = next(each["site_id"] for each in sites if each["level"] == "centre")
    each_sells = sales // TILLS
    lots = [each["lot_id"] for each in _keeping_lots(operator)]
    for lot_id in lots:
        body = {"lot_id": lot_id, "location_id": centre_id, "quantity": sales}
        operator.post("catalog", "/stock/receipts", body)
    tills = [enrol(operator, site_id, lots, each_sells) for _ in range(TILLS)]
    uploads = [(till.token, pieces(till, each_sells)) for till in tills]
    units = sum(
        line["quantity"]
        for _, bodies in uploads
        for body in bodies
        for entry in json.loads(body)["entries"]
        for line in entry.get("lines", ())
    )
    pids = system.pids() | surroundings.pids()
    used = sum(processor_seconds(pids).values())
    began = time.monotonic()
    accepted = upload(system.urls["orders"], uploads)
    answered_after = time.monotonic() - began
    # Each till has opened a shift, too.
    assert accepted == sales + TILLS, f"{accepted} accepted"
    wait_until(lambda: booked(operator, tills) == units, 300, "catalog has booked all")
    booked_after = time.monotonic() - began
    used = sum(processor_seconds(pids).values()) - used
    return {
        "sales uploaded over HTTP": sales / answered_after,
        "sales booked in catalog's stock": sales / booked_after,
        "processor time per sale": used / sales * 1000,
    }


def measure(surroundings: Surroundings, *, quick: bool) -> list[Figure]:
    """Upload three times, each time from new tills; once if `quick`."""
    found: dict[str, list[float]] = defaultdict(list)
    with surroundings.system() as system:
        system.wait_until_quiet()
        for run in range(1 if quick else 3):
            surroundings.say(f"{PART}, run {run + 1}")
            for name, value in _upload_all(surroundings, system, 2000 if quick else 5000).items():
                found[name].append(value)
    return [
        Figure(PART, name, "ms" if "time" in name else "/s", tuple(values))
        for name, values in found.items()
    ]
