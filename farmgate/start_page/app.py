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

#: Seconds for which the services' states are cached.
CACHE_SECONDS = 2.0
#: Seconds an event may wait to be published before the page shows it.
LATE = 30


@dataclass(frozen=True)
class Status:
    """The state of one service."""

    name: str
    url: str
    #: `ready`, `late` (it answers, but a check fails) or `away` (it does not answer).
    state: str
    failing: tuple[str, ...]


class Monitor:
    """The services' states; asked at most every CACHE_SECONDS, by one thread at a time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._statuses: list[Status] = []

    def statuses(self) -> list[Status]:
        """Return the services' states."""
        with self._lock:
            if monotonic() - self._asked_at > CACHE_SECONDS:
                with ThreadPoolExecutor(len(NAMES)) as pool:
                    self._statuses = list(pool.map(self._ask, NAMES))
                self._asked_at = monotonic()
            return self._statuses

    def _ask(self, name: str) -> Status:
        answer = self._client.ready(name)
        url = self._client.addresses[name]
        if answer is None:
            return Status(name, url, "away", ())
        failing = _failing(answer)
        return Status(name, url, "late" if failing else "ready", failing)


def _failing(report: dict[str, Any]) -> tuple[str, ...]:
    """Return the parts of a readiness report that need attention."""
    failing = [f"{part}: away" for part in ("database", "broker") if report.get(part) == "away"]
    late = report.get("oldest_unpublished_seconds", 0)
    if late > LATE:
        failing.append(f"oldest_unpublished_seconds: {late:.0f}")
    failing += [f"parked, {state}: {count}" for state, count in report.get("parked", {}).items()]
    return tuple(failing)


def create_app(addresses: Mapping[str, str]) -> Flask:
    """Return the page's application; it shows the states of the services at `addresses`."""
    app = Flask(__name__)
    # Bootstrap's files come from the package: the page must work without internet access.
    app.config["BOOTSTRAP_SERVE_LOCAL"] = True
    Bootstrap5(app)
    keep_relative(app)
    monitor = Monitor(Client(addresses, token=None))

    @app.get("/")
    def start() -> Response:
        preferred = request.args.get("lang") or request.accept_languages.best_match(LANGUAGES)
        language = preferred if preferred in LANGUAGES else "zh"
        page = render_template(
            "start.html", statuses=monitor.statuses(), text=TEXTS[language], language=language
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
        return jsonify({s.name: {"state": s.state, "url": s.url} for s in monitor.statuses()})

    return app
