"""The till page's first start and a later one over a slow line: bytes and seconds, in Chromium.

The line carries 50 kbit/s each way, and a packet and its answer take 300 ms; all of the browser's
connections share it. A till comes through the deployment's gateway, so answers are compressed as
there. The time of TCP's and TLS's handshakes is not in it.
"""

import gzip
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

from werkzeug.middleware.http_proxy import ProxyMiddleware
from werkzeug.test import run_wsgi_app
from werkzeug.wrappers import Request, Response

from benchmarks import goods
from benchmarks.figures import Figure
from benchmarks.surroundings import Surroundings, System, embedded
from farmgate.http_server import HttpServer
from tests.faults.proxy import Proxy

PART = "till_start"
BYTES_PER_SECOND = 50_000 / 8
#: Seconds each way.
DELAY = 0.15
#: gzip's level and the least bytes of an answer, as in deploy/gateway/site.conf.
LEVEL, LEAST = 4, 1000
PROGRAMS = ("/usr/lib/chromium/chromium", "chromium", "chromium-browser", "google-chrome")
#: What the page needs nothing of.
LEAN = (
    *("--no-sandbox", "--disable-gpu", "--disable-extensions", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-quic"),
)
#: Milliseconds for each step.
PATIENCE = 300_000
#: Seconds without a byte after which a start is over.
QUIET = 2.0


def measure(surroundings: Surroundings, *, quick: bool) -> list[Figure]:
    """Start a till for the first time and once more; three times, once if `quick`."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        surroundings.say(f"{PART}: there is no Chromium here, so it is left out")
        return []
    found: dict[str, list[float]] = defaultdict(list)
    with ExitStack() as stack:
        system = stack.enter_context(embedded(surroundings.folder / PART))
        system.start()
        system.issue_token()
        goods.open_sites(system, 1)
        gateway = Gateway(system.urls["catalog"])
        stack.callback(gateway.server.close)
        line = stack.enter_context(Proxy(("127.0.0.1", gateway.server.port)))
        line.slow(DELAY, BYTES_PER_SECOND)
        for run in range(1 if quick else 3):
            surroundings.say(f"{PART}, run {run + 1}")
            for name, value in _measure(program, line, _enrolment_code(system)).items():
                found[name].append(value)
    return [
        Figure(PART, name, "s" if "until" in name else "kB", tuple(values))
        for name, values in found.items()
    ]


class Gateway:
    """Passes requests on to the system, and compresses the answers as the gateway does."""

    def __init__(self, target: str) -> None:
        self._through = ProxyMiddleware(Response(status=404), {"all": {"target": target}})
        self.server = HttpServer(self._answer, "127.0.0.1", 0, threads=8)
        self.server.start()

    def _answer(self, environ: Any, start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = Request(environ)
        onward = self._through.proxy_to(self._through.targets["/all/"], request.path, "/")
        content, status, headers = run_wsgi_app(onward, request.environ, buffered=True)
        answer = Response(b"".join(content), status, headers)
        if "gzip" in request.accept_encodings and len(answer.data) >= LEAST:
            answer.data = gzip.compress(answer.data, LEVEL)
            answer.headers["Content-Encoding"] = "gzip"
        return answer(environ, start_response)


def _enrolment_code(system: System) -> str:
    """Return the code of a new device at a station."""
    locations = system.operator.pages("catalog", "/locations")
    site_id = next(each["location_id"] for each in locations if each["level"] == "township")
    device = system.operator.post("catalog", "/devices", {"site_id": site_id, "name": "柜台"})
    return str(device["enrolment_code"])


def _measure(program: str, line: Proxy, code: str) -> dict[str, float]:
    """Return the figures of one browser with a new profile, by name."""
    from playwright.sync_api import sync_playwright

    found: dict[str, float] = {}
    url = f"http://127.0.0.1:{line.port}/till/"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=list(LEAN))
        context = browser.new_context(locale="en-US")
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        carried, began = line.carried, time.monotonic()
        page.goto(url, wait_until="commit")
        page.get_by_label("Enrolment code").wait_for()
        found["first start, until a clerk can enrol it"] = time.monotonic() - began
        page.evaluate("navigator.serviceWorker.ready.then(() => 0)")
        found["first start, until it opens without a network"] = time.monotonic() - began
        _wait_until_quiet(line)
        found["first start"] = (line.carried - carried) / 1000

        page.get_by_label("Enrolment code").fill(code)
        page.get_by_role("button", name="Make this device a till").click()
        page.locator("#head").wait_for()
        _wait_until_quiet(line)
        page.close()

        page = context.new_page()
        carried, began = line.carried, time.monotonic()
        page.goto(url, wait_until="commit")
        page.locator("#head").wait_for()
        found["later start, until the till is ready"] = time.monotonic() - began
        _wait_until_quiet(line)
        found["later start"] = (line.carried - carried) / 1000
        browser.close()
    return found


def _wait_until_quiet(line: Proxy) -> None:
    carried, since = line.carried, time.monotonic()
    while time.monotonic() - since < QUIET:
        time.sleep(0.1)
        if line.carried != carried:
            carried, since = line.carried, time.monotonic()
