"""The start page's application. It asks the services over HTTP, like any other client."""

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic
from typing import Any

from flask import Flask, Response, jsonify, render_template, request
from flask_bootstrap import Bootstrap5

from farmgate.client import Client
from farmgate.services import NAMES
from farmgate.start_page.texts import LANGUAGES, TEXTS
from shared.runtime.locations import keep_relative

#: Seconds for which an answer of the services is shown again.
FRESH = 2.0
#: Seconds an event may wait to be published before it is shown.
LATE = 30


@dataclass(frozen=True)
class Status:
    """How one service is."""

    name: str
    url: str
    #: `ready`, `late` (it answers, but something fails) or `away`.
    state: str
    failing: tuple[str, ...]


class Watch:
    """The services' states; asked at most every `FRESH` seconds, by one thread at a time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._asked = float("-inf")
        self._statuses: list[Status] = []

    def statuses(self) -> list[Status]:
        """Return how the services are."""
        with self._lock:
            if monotonic() - self._asked > FRESH:
                with ThreadPoolExecutor(len(NAMES)) as pool:
                    self._statuses = list(pool.map(self._ask, NAMES))
                self._asked = monotonic()
            return self._statuses

    def _ask(self, name: str) -> Status:
        answer = self._client.ready(name)
        url = self._client.addresses[name]
        if answer is None:
            return Status(name, url, "away", ())
        failing = _failing(answer)
        return Status(name, url, "late" if failing else "ready", failing)


def _failing(report: dict[str, Any]) -> tuple[str, ...]:
    """Return what of a readiness report needs attention, in the report's own words."""
    failing = [f"{part}: away" for part in ("database", "broker") if report.get(part) == "away"]
    late = report.get("oldest_unpublished_seconds", 0)
    if late > LATE:
        failing.append(f"oldest_unpublished_seconds: {late:.0f}")
    failing += [f"parked, {state}: {count}" for state, count in report.get("parked", {}).items()]
    return tuple(failing)


def create_app(addresses: Mapping[str, str]) -> Flask:
    """Return the page's application; it watches the services at `addresses`."""
    app = Flask(__name__)
    # Bootstrap's files come from the package: the page must work where there is no internet.
    app.config["BOOTSTRAP_SERVE_LOCAL"] = True
    Bootstrap5(app)
    keep_relative(app)
    watch = Watch(Client(addresses, token=None))

    @app.get("/")
    def start() -> Response:
        asked = request.args.get("lang")
        found = asked or request.accept_languages.best_match(LANGUAGES) or "zh"
        language = found if found in LANGUAGES else "zh"
        page = render_template(
            "start.html", statuses=watch.statuses(), text=TEXTS[language], language=language
        )
        answer = Response(page, mimetype="text/html")
        answer.headers["Content-Security-Policy"] = (
            "default-src 'none'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
            "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
        )
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Referrer-Policy"] = "no-referrer"
        answer.headers["Cache-Control"] = "no-store"
        return answer

    @app.get("/status.json")
    def status() -> Response:
        return jsonify({s.name: {"state": s.state, "url": s.url} for s in watch.statuses()})

    return app
