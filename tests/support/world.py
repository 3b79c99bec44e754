"""Four services in this process, each on its own database, and a story told over their HTTP."""

from collections import defaultdict
from pathlib import Path
from typing import Any
from uuid import UUID

from flask import Flask

from farmgate.roles import SCOPES
from farmgate.services import NAMES, application_of, service_of
from services.catalog.timers import publish_availability
from services.notifications.batch import NotificationsBatch
from services.notifications.use_cases import webhooks
from shared.messaging.batch import transaction
from shared.messaging.envelope import decode
from shared.messaging.processing import Processor
from shared.messaging.store import Store
from shared.runtime import api_keys, clock, devices, keys, migrations
from shared.runtime.config import Settings
from shared.runtime.tables import ApiKey

#: More than one, since requests may delete some.
ENDPOINTS = 8


class World:
    """Four applications, each on its own database, and a bus that runs when it is told to."""

    def __init__(self, folder: Path) -> None:
        keys.ensure(folder)
        environment = {
            "FARMGATE_DATA": str(folder),
            "FARMGATE_PAYMENT_SECRET_FILE": str(folder / "keys" / "payment_secret"),
        }
        self.folder = folder
        self.token = keys.issue_token(folder, "operator", SCOPES, 3600)
        self.payment_secret = (folder / "keys" / "payment_secret").read_text("utf-8").strip()
        self.apps: dict[str, Flask] = {}
        for name in NAMES:
            settings = Settings.from_environment(name, environment)
            migrations.upgrade(name, settings.database_url)
            self.apps[name] = application_of(name)(settings)
        self.databases = {n: app.extensions["farmgate"].database for n, app in self.apps.items()}
        self.processors = [Processor(service_of(n), self.databases[n]) for n in NAMES]
        #: Values of the ids in all answers, by name; and enrolment codes that nobody has used.
        self.ids: defaultdict[str, list[str]] = defaultdict(list)
        self.requests = 0
        #: The key of a device, by which its till calls.
        self.till_key = UUID(int=0)
        self.till_token = ""

    def close(self) -> None:
        """Close the databases."""
        for database in self.databases.values():
            database.close()

    def call(
        self, method: str, service: str, path: str, body: Any = None, token: str | None = None
    ) -> Any:
        """Return the answer to a request (an operator's), when all services have heard of it."""
        answer = self.send(method, service, path, body, token)
        assert answer.status_code < 300, answer.text
        self._tell()
        self._note(answer.json)
        return answer.json

    def send(
        self, method: str, service: str, path: str, body: Any = None, token: str | None = None
    ) -> Any:
        """Return the answer to a request, whatever its status; nobody has heard of it yet."""
        self.requests += 1
        url = path if path.startswith("/api/") else f"/api/{service}/v1{path}"
        return (
            self.apps[service]
            .test_client()
            .open(
                url,
                method=method,
                json=body,
                headers={
                    "Authorization": f"Bearer {token or self.token}",
                    "Idempotency-Key": f"world-{self.requests}",
                },
            )
        )

    def live(self) -> None:
        """Let an order be placed and planned, and one more that is not decided yet."""
        names = {"zh": "巴河镇"}
        sites = [
            {"code": "C", "level": "centre", "names": names},
            {"code": "K", "level": "county", "parent_code": "C", "names": names},
            {"code": "T", "level": "township", "parent_code": "K", "names": names},
        ]
        centre, _, township = self.call("POST", "logistics", "/sites/batch", {"sites": sites})[
            "sites"
        ]
        route = {"from_code": "C", "to_code": "K", "hours": 5, "cold": True}
        self.call("POST", "logistics", "/routes", route)
        producer = self.call(
            "POST",
            "catalog",
            "/enterprises",
            {
                "code": "P-1",
                "names": names,
                "roles": ["producer"],
                "contact": {"phone": "+8613800138000", "language": "zh"},
            },
        )
        variant = {"sku": "M-A", "grade": "A", "unit": "g", "pack_quantity": 500}
        product = {"code": "M", "names": names, "category": "fungi", "perishable": True}
        listed = self.call(
            "POST",
            "catalog",
            "/products",
            product | {"shelf_life_days": 5, "variants": [variant]},
        )
        variant_id = listed["variants"][0]["variant_id"]
        price = {"price_fen": 6800, "price_unit": 500}
        self.call("PUT", "catalog", f"/variants/{variant_id}/prices/online", price)
        lot = {
            "code": "L-1",
            "variant_id": variant_id,
            "producer_id": producer["enterprise_id"],
            "harvest_date": clock.today().isoformat(),
        }
        lot_id = self.call("POST", "catalog", "/lots", lot)["lot_id"]
        self.call("POST", "catalog", f"/lots/{lot_id}/inspect")
        self.call("POST", "catalog", f"/lots/{lot_id}/release")
        receipt = {"lot_id": lot_id, "location_id": centre["site_id"], "quantity": 100_000}
        self.call("POST", "catalog", "/stock/receipts", receipt)
        order = {
            "channel": "online",
            "site_id": township["site_id"],
            "collect": True,
            "lines": [{"variant_id": variant_id, "quantity": 1000}],
            "contact": {"name": "卓玛", "phone": "+8613800138000"},
        }
        self.follow()
        for paid, buyer in (("cash_on_delivery", None), ("prepaid", "operator")):
            self.call(
                "POST", "orders", "/orders", order | {"payment_method": paid, "buyer_id": buyer}
            )
        self.open_station(township["site_id"], centre["site_id"], lot)
        catalog = self.apps["catalog"].extensions["farmgate"]
        publish_availability(catalog.database, catalog.settings)
        assert self.call("GET", "catalog", "/availability")["items"]
        for path in ("/shipments", "/routes"):
            self.call("GET", "logistics", path)
        for path in ("/messages", "/inbox"):
            self.call("GET", "notifications", path)
        self.deliver()

    def follow(self) -> None:
        """Let the operator follow everybody's orders, also by webhooks, and a shop its own."""
        v1 = "/api/events/v1"
        self.call("PUT", "notifications", f"{v1}/subscriptions/shop", {"types": []})
        self.call("PUT", "notifications", f"{v1}/subscription", {"types": []})
        grants = {"grants": ["orders"]}
        self.call("PUT", "notifications", f"{v1}/subscriptions/operator/grants", grants)
        endpoint = {"url": "https://shop.example/farmgate"}
        for _ in range(ENDPOINTS):
            self.call("POST", "notifications", f"{v1}/endpoints", endpoint)

    def deliver(self) -> None:
        """Let a webhook have deliveries, of which none is sent."""
        endpoint_id = UUID(self.ids["endpoint_id"][0])
        with transaction(self.databases["notifications"], NotificationsBatch) as batch:
            webhooks.read_ahead(batch, [endpoint_id])
        path = f"/api/events/v1/endpoints/{endpoint_id}/deliveries"
        assert self.call("GET", "notifications", path)["items"]

    def open_station(self, site_id: str, centre_id: str, lot: dict[str, Any]) -> None:
        """Let devices hold some lots, and one of them sell what it was not granted."""
        for number in range(2, 5):
            lot_id = self.call("POST", "catalog", "/lots", lot | {"code": f"L-{number}"})["lot_id"]
            self.call("POST", "catalog", f"/lots/{lot_id}/inspect")
            self.call("POST", "catalog", f"/lots/{lot_id}/release")
            receipt = {"lot_id": lot_id, "location_id": centre_id, "quantity": 100_000}
            self.call("POST", "catalog", "/stock/receipts", receipt)
        variant_id = lot["variant_id"]
        rule = {"keep": 500}
        self.call("PUT", "catalog", f"/standing-rules/{site_id}/{variant_id}", rule)
        for number in range(3):
            device_id = self.enrol(site_id)
            for lot_id in self.ids["lot_id"]:
                grant = {"device_id": device_id, "lot_id": lot_id, "quantity": 5000}
                self.call("POST", "catalog", "/allotments", grant)
            said = {
                "seen_revision": 0,
                "unsynced": 0,
                "last_number": number,
                "device_time": clock.rfc3339(clock.now()),
                "app_version": "world",
            }
            self.call("POST", "catalog", "/till/contact", said, self.till_token)
            self.sell_too_much(lot_id, variant_id)
            # What stands there is asked to sell, and must not be revoked meanwhile.
            self.ids["device_id"].append(self.invite(site_id)["device_id"])

    def sell_too_much(self, lot_id: str, variant_id: str) -> None:
        """Let the till upload sales within its grant and beyond it."""
        common = {"clerk": "卓玛", "shift": 1, "device_time": clock.rfc3339(clock.now())}
        entries: list[dict[str, Any]] = [
            common | {"number": 1, "kind": "shift_open", "float_fen": 0}
        ]
        for number, quantity in enumerate((500, 1_000_000, 1_000_001), 2):
            line = {
                "line_no": 1,
                "variant_id": variant_id,
                "lot_id": lot_id,
                "quantity": quantity,
                "price_fen": 1,
                "price_unit": 1,
                "line_total_fen": quantity,
            }
            sale = {"lines": [line], "total_fen": quantity, "payment": "cash"}
            entries.append(common | {"number": number, "kind": "sale"} | sale)
        body = {"format": 1, "entries": entries}
        self.call("POST", "orders", "/till/entries", body, self.till_token)
        self.call("GET", "catalog", "/overdrafts")

    def invite(self, site_id: str) -> Any:
        """Register a device; return it with its code, which nobody uses."""
        invited = self.call("POST", "catalog", "/devices", {"site_id": site_id, "name": "柜台"})
        self.ids["code"].append(invited["enrolment_code"])
        return invited

    def enrol(self, site_id: str) -> str:
        """Let a till stand at a site, with a key that all services know; return its device."""
        code, secret = self.invite(site_id)["enrolment_code"], api_keys.new_secret()
        self.ids["code"].remove(code)
        body = {"code": code, "secret": secret}
        enrolled = self.call("POST", "catalog", "/till/enrol", body)
        self.till_key = UUID(enrolled["key_id"])
        self.till_token = api_keys.token_of(self.till_key, secret)
        self.ids["device_id"].remove(enrolled["device_id"])
        return str(enrolled["device_id"])

    def present_till(self) -> str:
        """Return the token of a till; of a new one, if the last was revoked or replaced."""
        with self.databases["catalog"].readers() as reader:
            key = reader.get(ApiKey, self.till_key)
        if key is None or devices.TILL not in key.scopes:
            self.enrol(self.ids["site_id"][-1])
        return self.till_token

    def _note(self, answer: Any) -> None:
        if isinstance(answer, list):
            for item in answer:
                self._note(item)
        elif isinstance(answer, dict):
            for name, value in answer.items():
                if isinstance(value, str) and name.endswith("_id"):
                    if value not in self.ids[name]:
                        self.ids[name].append(value)
                else:
                    self._note(value)

    def _tell(self) -> None:
        """Hand on what the services have recorded, until nobody has anything to say."""
        told = True
        while told:
            told = False
            for database in self.databases.values():
                store = Store(database)
                rows = store.waiting(100)
                said = [decode(row.body) for row in rows]
                for processor in self.processors:
                    processor.process(
                        [e for e in said if e.type in processor.types], _never_unavailable
                    )
                store.mark(rows)
                store.close()
                told = told or bool(rows)


def _never_unavailable(seconds: float) -> None:
    raise AssertionError("the database is away")
