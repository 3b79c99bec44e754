"""A till in a real browser, against the real embedded system behind a link that can fail."""

import json
import os
import re
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Error,
    Locator,
    Page,
    Playwright,
    expect,
    sync_playwright,
)
from werkzeug.middleware.http_proxy import ProxyMiddleware
from werkzeug.test import run_wsgi_app
from werkzeug.wrappers import Request, Response

import web
from farmgate.client import Client, connect
from farmgate.http_server import HttpServer
from shared.runtime import clock
from tests.support import processes
from tests.support.processes import Processes
from tests.support.servers import wait_until

#: Milliseconds a page has for what a test waits for.
PATIENCE = 40_000
#: What a page under test needs nothing of, and what takes the processor's time.
LEAN = (
    *("--no-sandbox", "--disable-gpu", "--disable-extensions", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-quic"),
)
SITE, VILLAGE = "540421103", "540421103201"

#: What the link does to a request: `go()` asks the system; the answer may be another one.
Fault = Callable[[Request, Callable[[], Response]], Response]


class Link:
    """The way from one till to the centre, on an address of its own; `fault` breaks it."""

    def __init__(self, target: str) -> None:
        self.fault: Fault | None = None
        #: Bodies of what was sent to an API: (path, JSON or None).
        self.sent: list[tuple[str, Any]] = []
        self._through = ProxyMiddleware(Response(status=404), {"all": {"target": target}})
        self._server = HttpServer(self._answer, "127.0.0.1", 0, threads=8)
        self.port = self._server.port
        self.url = f"http://127.0.0.1:{self.port}"
        self._server.start()

    def _answer(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        body = request.get_data(cache=True)
        if request.path.startswith("/api/") and request.method == "POST":
            self.sent.append((request.path, json.loads(body)))

        def go() -> Response:
            onward = request.environ.copy()
            onward["wsgi.input"] = BytesIO(body)
            way = self._through.proxy_to(self._through.targets["/all/"], request.path, "/")
            content, status, headers = run_wsgi_app(way, onward, buffered=True)
            return Response(b"".join(content), status, headers)

        answer = go() if self.fault is None else self.fault(request, go)
        return answer(environ, start_response)

    def uploaded(self) -> list[int]:
        """Return the numbers of all entries that were sent, in order, also repeatedly."""
        return [
            entry["number"]
            for path, body in self.sent
            if path.endswith("/till/entries")
            for entry in body["entries"]
        ]

    def close(self) -> None:
        self._server.close()


@dataclass
class Centre:
    """The system behind the tills, and what its operator does."""

    system: Processes
    client: Client
    sites: dict[str, str] = field(default_factory=dict)
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    producer_id: str = ""
    known: list[Any] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.system.urls["catalog"]

    def lot(self, sku: str, quantity: int, **changes: Any) -> dict[str, Any]:
        """Bring a released lot to the centre."""
        body = {
            "code": f"{sku}-{uuid4().hex[:6].upper()}",
            "variant_id": self.variants[sku]["variant_id"],
            "producer_id": self.producer_id,
            "harvest_date": clock.today().isoformat(),
            **changes,
        }
        lot: dict[str, Any] = self.client.post("catalog", "/lots", body)
        self.client.post("catalog", f"/lots/{lot['lot_id']}/inspect")
        self.client.post("catalog", f"/lots/{lot['lot_id']}/release")
        receipt = {"lot_id": lot["lot_id"], "location_id": self.sites["540400"]}
        self.client.post("catalog", "/stock/receipts", receipt | {"quantity": quantity})
        return {**lot, "code": body["code"]}

    def device(self) -> dict[str, Any]:
        """Make a device at the station; it has a code to enrol with."""
        body = {"site_id": self.sites[SITE], "name": "巴河镇柜台"}
        return dict(self.client.post("catalog", "/devices", body))

    def grant(self, device: dict[str, Any], lot: dict[str, Any], quantity: int) -> None:
        """Set stock aside for a device."""
        body = {"device_id": device["device_id"], "lot_id": lot["lot_id"], "quantity": quantity}
        self.client.post("catalog", "/allotments", body)

    def entries(self, device: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
        """Return what orders holds of a device's journal, by epoch, number and copy."""
        found = self.client.pages(
            "orders", "/station-sales", device_id=device["device_id"], **query
        )
        return sorted(found, key=lambda e: (e["epoch"], e["number"], e["copy"]))

    def allotments(self, device: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Return a device's allotments by lot."""
        detail = self.client.get("catalog", f"/devices/{device['device_id']}")
        return {one["lot_id"]: one for one in detail["allotments"]}

    def await_sold(self, device: dict[str, Any], lot: dict[str, Any], quantity: int) -> None:
        """Wait until catalog has booked that much as sold by the device."""
        wait_until(
            lambda: self.allotments(device)[lot["lot_id"]]["sold"] == quantity,
            20,
            f"catalog has booked {quantity} of {lot['code']} as sold",
        )

    def note_differences(self) -> None:
        """Take what does not agree now (other tests' disputes) as known."""
        self.known = []
        self.known = self.differences()

    def differences(self) -> list[Any]:
        """Return what does not agree in the books of stock and of sales, and was not known."""
        return [
            difference
            for service in ("catalog", "orders")
            for difference in self.client.get(service, "/verify")["differences"]
            if difference not in self.known
        ]


@pytest.fixture(scope="session")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    """The embedded system with two stations, two kinds of goods, and a short lease."""
    with processes.embedded(tmp_path_factory.mktemp("centre")) as system:
        system.start()
        yield _open(system, connect(system.environment))


@pytest.fixture
def open_centre() -> Callable[[Processes, Client], Centre]:
    """Open stations and list goods in another system."""
    return _open


def _open(system: Processes, client: Client) -> Centre:
    centre = Centre(system, client)
    names = {
        "540400": ("centre", None, {"zh": "林芝市电商服务中心", "en": "Nyingchi centre"}),
        "540421": ("county", "540400", {"zh": "工布江达县", "en": "Gongbo'gyamda"}),
        SITE: ("township", "540421", {"zh": "巴河镇", "en": "Bahe Town"}),
        VILLAGE: ("village", SITE, {"zh": "秀巴村", "en": "Xiuba Village"}),
    }
    sites = [
        {"code": code, "level": level, "names": name} | ({"parent_code": parent} if parent else {})
        for code, (level, parent, name) in names.items()
    ]
    for site in client.post("logistics", "/sites/batch", {"sites": sites})["sites"]:
        centre.sites[site["code"]] = site["site_id"]
    body = {"code": "P-1", "names": {"zh": "农户"}, "roles": ["producer"]}
    centre.producer_id = client.post("catalog", "/enterprises", body)["enterprise_id"]
    for code, zh, en, unit, pack, fen, price_unit in (
        ("HONEY", "野生蜂蜜", "Wild honey", "g", 500, 9410, 500),
        ("CORDYCEPS", "冬虫夏草", "Cordyceps", "piece", 10, 26880, 10),
    ):
        product = client.post(
            "catalog",
            "/products",
            {
                "code": code,
                "names": {"zh": zh, "en": en},
                "category": "pantry" if unit == "g" else "medicinal",
                "perishable": False,
                "shelf_life_days": 730,
                "variants": [{"sku": code, "grade": "1", "unit": unit, "pack_quantity": pack}],
            },
        )
        centre.variants[code] = variant = product["variants"][0]
        for channel in ("station", "online"):
            path = f"/variants/{variant['variant_id']}/prices/{channel}"
            client.put("catalog", path, {"price_fen": fen, "price_unit": price_unit})
    wait_until(
        lambda: {s["code"] for s in client.pages("catalog", "/locations")} >= set(names),
        20,
        "catalog knows the sites",
    )
    return centre


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """The driver of browsers."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="session")
def browser(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    """One browser for all tills whose profile need not outlive it: a third of the cost."""
    running = playwright.chromium.launch(executable_path=chromium, args=list(LEAN))
    yield running
    running.close()


@pytest.fixture(scope="session")
def page_server() -> Iterator[str]:
    """The address of the pages alone, with no service behind them."""
    server = HttpServer(web.create_app(), "127.0.0.1", 0, threads=4)
    server.start()
    yield f"http://127.0.0.1:{server.port}"
    server.close()


class Till:
    """One browser with its own profile, and the hands of a clerk.

    `profile` is the folder of one that can be closed, copied and started again, else empty.
    """

    def __init__(
        self, open_context: Callable[[], BrowserContext], profile: Path, url: str, quota: int | None
    ) -> None:
        self._open_context = open_context
        self.profile, self.url = profile, url
        #: Bytes that the browser may keep for the till; None: as it likes.
        self._quota = quota
        self.context: BrowserContext | None = None
        self.page: Page
        #: What went wrong in the page's own scripts.
        self.errors: list[str] = []

    def start(self) -> None:
        """Start the browser on its profile and open the till."""
        self.context = self._open_context()
        self.context.set_default_timeout(PATIENCE)
        self.page = self.context.pages[0] if self.context.pages else self.context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        if self._quota is not None:
            # Before the first look at it: the browser remembers for half a minute what it saw.
            quota = {"origin": self.url, "quotaSize": self._quota}
            self._devtools = self.context.new_cdp_session(self.page)
            self._devtools.send("Storage.overrideQuotaForOrigin", quota)
        self.page.goto(f"{self.url}/till/")

    def fill_storage(self) -> None:
        """Let something else of this address keep data until the browser takes no more."""
        self.page.evaluate(_FILL)

    def free_storage(self) -> None:
        """Delete that again."""
        self.page.evaluate(_FREE)

    def another_tab(self) -> Page:
        """Open the till in a second tab."""
        assert self.context is not None
        page = self.context.new_page()
        page.goto(f"{self.url}/till/")
        return page

    def close(self) -> None:
        """Close the browser, as at the end of a day."""
        if self.context is not None:
            self.context.close()
            self.context = None

    def cut_power(self) -> None:
        """Kill the browser outright; nothing is written any more."""
        mark = f"--user-data-dir={self.profile}"
        killed = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                command = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue  # it ended meanwhile
            if mark in command and not any(part.startswith("--type=") for part in command):
                os.kill(int(entry.name), signal.SIGKILL)
                killed.append(entry)
        assert killed, "no browser runs on this profile"
        wait_until(lambda: not any(entry.exists() for entry in killed), 10, "it is gone")
        try:
            self.close()
        except Error:
            self.context = None  # the driver lost it, as it should

    # --- What a clerk does ----------------------------------------------------------------------

    def go(self, screen: str, page: Page | None = None) -> None:
        """Open a screen by its place in the bar."""
        if page is not None:
            page.bring_to_front()  # a tab that nobody sees draws once a second
        (page or self.page).locator(f"nav a[href='#/{screen}']").click()

    def enrol(self, code: str) -> None:
        """Type the code, and wait until the till knows who it is."""
        self.page.get_by_label("Enrolment code").fill(code)
        self.page.get_by_role("button", name="Make this device a till").click()
        expect(self.page.locator("#head")).to_be_visible()

    def open_shift(self, clerk: str = "卓玛", cash: str = "200") -> None:
        """Open a shift with this cash in the drawer."""
        self.go("shift")
        self.page.get_by_label("Your name").fill(clerk)
        self.page.get_by_label("Cash in the drawer at the start").fill(cash)
        self.page.get_by_role("button", name="Open a shift").click()
        expect(self.page.get_by_role("heading", name="Open a shift")).to_be_hidden()

    def reach(self) -> None:
        """Press "Reach the centre now" and wait until that is over, well or not."""
        self.go("status")
        button = self.page.get_by_role("button", name="Reach the centre now")
        button.click()
        expect(button).to_be_enabled()

    def tile(self, name: str = "Wild honey", page: Page | None = None) -> Locator:
        """The tile of goods on the counter's screen."""
        return (page or self.page).locator(".till-tile", has_text=name)

    def fill_cart(self, quantity: int, name: str = "Wild honey", page: Page | None = None) -> None:
        """Put goods into the cart."""
        page = page or self.page
        self.go("sell", page)
        self.tile(name, page).click()
        page.get_by_label("How much").fill(str(quantity))
        page.get_by_role("button", name="Into the cart").click()

    def pay(self, page: Page | None = None) -> None:
        """Take the exact amount in cash."""
        page = page or self.page
        page.locator(".till-pay").click()
        page.get_by_role("button", name="Paid: write the receipt").click()

    def sell(self, quantity: int, name: str = "Wild honey", page: Page | None = None) -> str:
        """Sell, and return the number on the receipt."""
        self.fill_cart(quantity, name, page)
        self.pay(page)
        return (page or self.page).locator("#receipt-number").inner_text()

    def unsent(self) -> int:
        """What the head of the page says."""
        return int(re.sub(r"\D", "", self.page.locator("#unsent").inner_text()))

    def await_unsent(self, count: int) -> None:
        """Wait until the head of the page says so."""
        expect(self.page.locator("#unsent")).to_have_text(f"{count} unsent")

    def told(self) -> str:
        """Read the dialog that says why something cannot be done, and close it."""
        dialog = self.page.locator("dialog").last
        text = dialog.get_by_role("alert").inner_text()
        dialog.get_by_role("button", name="OK").click()
        return text

    def left(self, name: str = "Wild honey") -> str:
        """What a tile says is left."""
        self.go("sell")
        return self.tile(name).locator(".till-left").inner_text()


@dataclass
class Station:
    """A till that is enrolled, has 5 kg of honey, and whose shift is open."""

    till: Till
    link: Link
    device: dict[str, Any]
    lot: dict[str, Any]


MakeTill = Callable[..., Till]


_FILL = """async () => {
  const opened = indexedDB.open("filler", 1);
  opened.onupgradeneeded = () => opened.result.createObjectStore("rows", {autoIncrement: true});
  await new Promise((done) => { opened.onsuccess = done; });
  const keep = (bytes) => new Promise((done) => {
    const tx = opened.result.transaction("rows", "readwrite");
    const rows = new Uint8Array(bytes);
    for (let at = 0; at < bytes; at += 65536) {
      crypto.getRandomValues(rows.subarray(at, at + 65536));
    }
    tx.objectStore("rows").put(rows);
    tx.oncomplete = () => done(true);
    tx.onabort = () => done(false);
  });
  for (const bytes of [1048576, 65536, 4096, 256]) while (await keep(bytes));
  opened.result.close();
}"""
_FREE = """() => new Promise((done, fail) => {
  const deleted = indexedDB.deleteDatabase("filler");
  deleted.onsuccess = done;
  deleted.onerror = fail;
})"""


@pytest.fixture
def link(centre: Centre) -> Iterator[Link]:
    """A till's way to the centre."""
    centre.note_differences()
    made = Link(centre.url)
    yield made
    made.close()


@pytest.fixture
def make_till(
    playwright: Playwright, chromium: str, browser: Browser, link: Link
) -> Iterator[MakeTill]:
    """Start a till on a new profile, by default over the link.

    With a folder as `profile` it has a browser of its own, which may get other `args`.
    """
    with ExitStack() as stack:

        def make(
            url: str | None = None,
            profile: Path | None = None,
            quota: int | None = None,
            args: Sequence[str] = (),
            **options: Any,
        ) -> Till:
            options = {"locale": "en-US", "accept_downloads": True} | options
            if profile is None:
                till = Till(lambda: browser.new_context(**options), Path(), url or link.url, quota)
            else:
                options |= {"executable_path": chromium, "args": [*LEAN, *args]}
                opened = partial(playwright.chromium.launch_persistent_context, profile, **options)
                till = Till(opened, profile, url or link.url, quota)
            stack.callback(till.close)
            till.start()
            return till

        yield make


@pytest.fixture
def make_ready(centre: Centre, link: Link) -> Callable[[Till], Station]:
    """Enrol a till and get it ready to sell."""
    return lambda till: _ready(centre, link, till)


@pytest.fixture
def station(make_till: MakeTill, make_ready: Callable[[Till], Station]) -> Station:
    """A till with a link, ready to sell."""
    return make_ready(make_till())


@pytest.fixture
def lasting_station(
    make_till: MakeTill, make_ready: Callable[[Till], Station], tmp_path: Path
) -> Station:
    """The same on a profile that outlives its browser."""
    return make_ready(make_till(profile=tmp_path / "profile"))


def _ready(centre: Centre, link: Link, till: Till) -> Station:
    """Enrol a till, set 5 kg of honey aside for it, open a shift, and send all that."""
    device = centre.device()
    lot = centre.lot("HONEY", 50_000)
    till.enrol(device["enrolment_code"])
    centre.grant(device, lot, 5_000)
    till.open_shift()
    till.reach()
    till.await_unsent(0)
    till.go("sell")
    expect(till.tile()).to_contain_text("5 kg left")
    return Station(till, link, device, lot)
