"""A marketplace that lists Farmgate's goods, orders for its buyers, and follows the orders.

It keeps three things in an SQLite file: the listing (what can be sold), its own orders, and its
place in the feed of events. README.md says how to run it, and why each step is safe to repeat.
"""

import argparse
import json
import os
import signal
import sqlite3
import sys
import time
from pathlib import Path

import requests

AVAILABILITY = "catalog.availability_changed.v1"
#: The events of our own orders and their shipments, and the quantities that can be sold.
TYPES = ["orders.*", "logistics.shipment_*", "logistics.delivery_failed.v1", AVAILABILITY]
#: Event → the order's `state`, and the shipment's: `fulfilment_state` of GET /orders/{id}.
STATES = {
    "orders.order_placed.v1": "placed",
    "orders.order_confirmed.v1": "confirmed",
    "orders.order_rejected.v1": "rejected",
    "orders.order_expired.v1": "expired",
    "orders.order_reinstated.v1": "placed",
    "orders.order_cancelled.v1": "cancelled",
    "orders.order_completed.v1": "completed",
    "orders.order_returned.v1": "returned",
}
FULFILMENT = {
    "logistics.shipment_planned.v1": "planned",
    "logistics.shipment_packed.v1": "packed",
    "logistics.shipment_dispatched.v1": "dispatched",
    "logistics.shipment_delivered.v1": "delivered",
    "logistics.shipment_collected.v1": "collected",
    "logistics.delivery_failed.v1": "failed",
    "logistics.shipment_cancelled.v1": "cancelled",
    "logistics.shipment_returned.v1": "returned",
}
#: Seconds that a request for events waits for one. Short, since between them new orders are sent.
WAIT = 1
#: Seconds until a request fails, and between attempts while Farmgate is unavailable.
TIMEOUT, FIRST_PAUSE, LONGEST_PAUSE = 30, 0.5, 30.0

TABLES = """
CREATE TABLE IF NOT EXISTS listing (variant_id TEXT PRIMARY KEY, sku TEXT, unit TEXT,
  pack_quantity INTEGER, quantity INTEGER, capped INTEGER, version INTEGER);
CREATE TABLE IF NOT EXISTS orders (external_ref TEXT PRIMARY KEY, body TEXT NOT NULL,
  order_id TEXT UNIQUE, order_ref TEXT, state TEXT NOT NULL, fulfilment TEXT, problem TEXT);
CREATE TABLE IF NOT EXISTS place (one INTEGER PRIMARY KEY CHECK (one = 1), cursor TEXT,
  position INTEGER);
"""


class Refused(Exception):
    """Raised when Farmgate refuses a request; `problem` says why (RFC 9457)."""

    def __init__(self, status, problem):
        super().__init__(f"{status} {problem.get('title')}: {problem.get('detail')}")
        self.status, self.problem = status, problem

    @property
    def kind(self):
        """Return the last part of the problem's type, which is stable."""
        return self.problem.get("type", "").rpartition("/")[2]


class Farmgate:
    """The HTTP API."""

    def __init__(self, url, token):
        self.url = url.rstrip("/")
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {token}"

    def call(self, method, path, **options):
        """Return the answer's JSON.

        Raises:
            Refused: repeating the same request would not help.
            requests.RequestException: Farmgate is unavailable; repeat it.
        """
        answer = self.session.request(method, self.url + path, timeout=TIMEOUT, **options)
        if answer.status_code >= 500 or answer.status_code == 429:
            raise requests.ConnectionError(f"{answer.status_code} from {path}")
        if answer.status_code >= 400:
            raise Refused(answer.status_code, answer.json())
        return answer.json()

    def pages(self, path, **query):
        """Yield all items of a list."""
        while True:
            page = self.call("GET", path, params={"limit": 200, **query})
            yield from page["items"]
            if page["next"] is None:
                return
            query["cursor"] = page["next"]


class Marketplace:
    """The listing, the orders and the place in the feed, in one SQLite file."""

    def __init__(self, farmgate, path):
        self.farmgate = farmgate
        # Another process, such as `order`, may write at the same time.
        self.store = sqlite3.connect(path, timeout=30)
        self.store.row_factory = sqlite3.Row
        self.store.execute("PRAGMA journal_mode = WAL")
        self.store.executescript(TABLES)

    # --- The listing ----------------------------------------------------------------------------

    def begin(self):
        """Subscribe, and mirror the listing, unless that is done."""
        if self.store.execute("SELECT 1 FROM place").fetchone() is None:
            self.farmgate.call("PUT", "/api/events/v1/subscription", json={"types": TYPES})
            self.mirror()

    def mirror(self):
        """Copy the listing, and the present states of our orders, and go on from the newest event.

        The place is read first: what changes while we copy comes as an event behind it.
        """
        feed = self.farmgate.call("GET", "/api/events/v1/subscription")
        items = list(self.farmgate.pages("/api/catalog/v1/availability"))
        orders = [
            self.farmgate.call("GET", f"/api/orders/v1/orders/{order['order_id']}")
            for order in self.store.execute(
                "SELECT order_id FROM orders WHERE order_id IS NOT NULL"
            ).fetchall()
        ]
        with self.store:
            for item in items:
                self.store.execute(
                    "INSERT OR REPLACE INTO listing VALUES (:variant_id, :sku, :unit,"
                    " :pack_quantity, :quantity, :capped, :version)",
                    item,
                )
            for order in orders:
                self.store.execute(
                    "UPDATE orders SET state = :state, fulfilment = :fulfilment_state"
                    " WHERE order_id = :order_id",
                    order,
                )
            self.store.execute(
                "INSERT OR REPLACE INTO place VALUES (1, ?, ?)",
                (feed["newest_cursor"], feed["newest_position"]),
            )
        print(len(items), "variants are listed", flush=True)

    def describe(self):
        """Ask for the names of variants that are new since the listing was mirrored."""
        unknown = self.store.execute("SELECT variant_id FROM listing WHERE sku IS NULL LIMIT 50")
        ids = [row["variant_id"] for row in unknown]
        if ids:
            items = list(self.farmgate.pages("/api/catalog/v1/availability", variant_id=ids))
            with self.store:
                self.store.executemany(
                    "UPDATE listing SET sku = :sku, unit = :unit, pack_quantity = :pack_quantity"
                    " WHERE variant_id = :variant_id",
                    items,
                )

    # --- Orders ---------------------------------------------------------------------------------

    def order(self, external_ref, lines, site_code, contact):
        """Store an order under our own number; `place_orders` sends it, as often as needed."""
        listing = self.store.execute("SELECT sku, variant_id FROM listing")
        variants = {row["sku"]: row["variant_id"] for row in listing}
        for sku, _ in lines:
            if sku not in variants:
                raise SystemExit(f"{sku} is not listed; start `follow` first, and see `listing`.")
        sites = self.farmgate.pages("/api/logistics/v1/sites")
        site_id = next((site["site_id"] for site in sites if site["code"] == site_code), None)
        if site_id is None:
            raise SystemExit(f"There is no site {site_code}.")
        body = {
            "external_ref": external_ref,
            "payment_method": "cash_on_delivery",
            "site_id": site_id,
            "collect": False,
            "lines": [
                {"variant_id": variants[sku], "quantity": quantity} for sku, quantity in lines
            ],
            "contact": contact,
        }
        with self.store:
            self.store.execute(
                "INSERT INTO orders (external_ref, body, state) VALUES (?, ?, 'new')"
                " ON CONFLICT DO NOTHING",
                (external_ref, json.dumps(body)),
            )

    def place_orders(self):
        """Send what is not sent, or may not have arrived: an `external_ref` is placed once."""
        for row in self.store.execute("SELECT * FROM orders WHERE state = 'new'").fetchall():
            ref = row["external_ref"]
            try:
                placed = self.farmgate.call(
                    "POST",
                    "/api/orders/v1/orders",
                    json=json.loads(row["body"]),
                    headers={"Idempotency-Key": os.urandom(16).hex()},
                )
            except Refused as error:
                if error.status == 401:
                    raise
                with self.store:
                    self.store.execute(
                        "UPDATE orders SET state = 'refused', problem = ? WHERE external_ref = ?",
                        (str(error), ref),
                    )
                print("refused", ref, error, flush=True)
                continue
            with self.store:
                # An event of the order may have been faster, and then knows more.
                self.store.execute(
                    "UPDATE orders SET order_id = :order_id, order_ref = :order_ref,"
                    " state = CASE state WHEN 'new' THEN :state ELSE state END"
                    " WHERE external_ref = :external_ref",
                    placed,
                )
            print("placed", ref, placed["order_ref"], flush=True)

    # --- Events ---------------------------------------------------------------------------------

    def take(self):
        """Take the next events, and store their effect and our new place in one transaction."""
        place = self.store.execute("SELECT * FROM place").fetchone()
        try:
            answer = self.farmgate.call(
                "GET",
                "/api/events/v1/events",
                params={"after": place["cursor"], "wait": WAIT, "limit": 500},
            )
        except Refused as error:
            if error.kind not in ("cursor-expired", "epoch-changed"):
                raise
            # We were away for longer than events are kept, or Farmgate restored a backup.
            print(error, flush=True)
            self.mirror()
            return 0
        position = place["position"]
        with self.store:
            for item in answer["events"]:
                if item["position"] != position + 1:
                    raise SystemExit(f"Event {position + 1} is missing: tell the operator.")
                position = item["position"]
                self.apply(item["event"])
            self.store.execute(
                "UPDATE place SET cursor = ?, position = ?", (answer["next"], position)
            )
        return len(answer["events"])

    def apply(self, event):
        """Apply one event; unknown types and fields are ignored, since new ones may come."""
        kind, data = event["type"], event["data"]
        if kind == AVAILABILITY:
            change = {**data, "version": int(event["sequence"])}
            changed = self.store.execute(
                "UPDATE listing SET quantity = :quantity, capped = :capped, version = :version"
                " WHERE variant_id = :variant_id AND version < :version",
                change,
            )
            if changed.rowcount == 0:
                # A new variant; `describe` asks for the rest.
                self.store.execute(
                    "INSERT INTO listing (variant_id, quantity, capped, version) VALUES"
                    " (:variant_id, :quantity, :capped, :version) ON CONFLICT DO NOTHING",
                    change,
                )
            print("listed", data["variant_id"], data["quantity"], flush=True)
            return
        if "external_ref" in data:
            # It may come before the answer to our POST.
            self.store.execute(
                "UPDATE orders SET order_id = :order_id, order_ref = :order_ref"
                " WHERE external_ref = :external_ref",
                data,
            )
        for column, states in (("state", STATES), ("fulfilment", FULFILMENT)):
            if kind in states:
                self.store.execute(
                    f"UPDATE orders SET {column} = ? WHERE order_id = ?",
                    (states[kind], data["order_id"]),
                )
                print("order", data["order_id"], column, states[kind], flush=True)

    def follow(self, stop):
        """Place orders and take events until told to stop; Farmgate may be away for any time."""
        pause = FIRST_PAUSE
        while not stop.asked:
            try:
                self.begin()
                self.place_orders()
                self.take()
                self.describe()
                pause = FIRST_PAUSE
            except requests.RequestException as error:
                print(f"{error!r}: again in {pause:.1f} s", file=sys.stderr, flush=True)
                until = time.monotonic() + pause
                while not stop.asked and time.monotonic() < until:
                    time.sleep(0.1)
                pause = min(2 * pause, LONGEST_PAUSE)


class Stop:
    """Whether SIGTERM or Ctrl-C asked the program to end after the present step."""

    asked = False

    def __init__(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.ask)

    def ask(self, *_):
        self.asked = True


def show(rows):
    for row in rows:
        print(json.dumps(dict(row), ensure_ascii=False))


def main():
    reader = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    reader.add_argument("url", help="http://HOST:8000")
    reader.add_argument("store", help="SQLite file; made when it is not there")
    reader.add_argument("--token-file", type=Path, help="else it is in FARMGATE_TOKEN")
    commands = reader.add_subparsers(dest="command", required=True)
    commands.add_parser("follow", help="mirror, place and follow until SIGTERM or Ctrl-C")
    commands.add_parser("listing", help="print what can be sold")
    commands.add_parser("orders", help="print our orders")
    order = commands.add_parser("order", help="store an order; `follow` places it")
    order.add_argument("external_ref", help="our own number of the order, for good")
    order.add_argument("line", nargs="+", help="SKU=QUANTITY, in grams or pieces")
    order.add_argument("--site", required=True, help="the code of the site that delivers")
    for name in ("name", "phone", "address"):
        order.add_argument(f"--{name}", required=True)
    given = reader.parse_args()
    file = given.token_file
    token = file.read_text().strip() if file else os.environ.get("FARMGATE_TOKEN")
    if not token:
        reader.error("give --token-file, or set FARMGATE_TOKEN")

    shop = Marketplace(Farmgate(given.url, token), given.store)
    try:
        if given.command == "follow":
            shop.follow(Stop())
        elif given.command == "listing":
            show(shop.store.execute("SELECT * FROM listing ORDER BY sku"))
        elif given.command == "orders":
            columns = "external_ref, order_ref, state, fulfilment, problem"
            show(shop.store.execute(f"SELECT {columns} FROM orders ORDER BY external_ref"))
        else:
            lines = [line.rpartition("=") for line in given.line]
            contact = {"name": given.name, "phone": given.phone, "address": given.address}
            shop.order(
                given.external_ref,
                [(sku, int(quantity)) for sku, _, quantity in lines],
                given.site,
                contact,
            )
    except Refused as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
