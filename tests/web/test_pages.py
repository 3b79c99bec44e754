"""What the server gives a till: a strict page, and a worker that names every file it needs."""

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import Client
from werkzeug.wrappers import Response

import web
from farmgate import pages
from farmgate.services import NAMES


@pytest.fixture
def client() -> FlaskClient:
    """Calls to the pages."""
    return web.create_app().test_client()


def files_of(client: FlaskClient) -> dict[str, str]:
    """Return what the worker keeps: address → digest."""
    match = re.search(r"const FILES = (\{.*?\});", client.get("/till/sw.js").text, re.DOTALL)
    assert match is not None
    return dict(json.loads(match[1]))


def test_the_page_allows_nothing_but_its_own_files(client: FlaskClient) -> None:
    page = client.get("/till/")

    policy = page.headers["Content-Security-Policy"]
    for rule in ("default-src 'none'", "script-src 'self'", "connect-src 'self'"):
        assert rule in policy
    assert "unsafe" not in policy
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    # No script, style or handler inside the page, and no address outside of it.
    assert re.findall(r"<script(?![^>]*src=)", page.text) == []
    assert re.findall(r"<style|\sstyle=|\son[a-z]+=|https?://", page.text) == []
    redirected = client.get("/till?language=bo", headers={"Host": "evil.example"})
    assert redirected.headers["Location"] == "/till/?language=bo"
    assert redirected.data == b""


def test_the_worker_keeps_all_that_the_page_loads_and_nothing_is_wrong_in_it(
    client: FlaskClient,
) -> None:
    files = files_of(client)

    for address, digest in files.items():
        with client.get(address) as answer:
            assert answer.status_code == 200
            assert b64encode(hashlib.sha256(answer.data).digest()).decode() == digest
            if address.endswith(".js"):
                assert answer.headers["Content-Type"].startswith("text/javascript")
                for imported in re.findall(r'from "(\.[^"]+)"', answer.text):
                    folder = address.rpartition("/")[0]
                    while imported.startswith("../"):
                        imported, folder = imported[3:], folder.rpartition("/")[0]
                    assert f"{folder}/{imported.removeprefix('./')}" in files
            if address.endswith(".webmanifest"):
                assert answer.headers["Content-Type"] == "application/manifest+json"
    linked = re.findall(r'(?:href|src)="([^"]+)"', client.get("/till/").text)
    assert set(linked) <= set(files)
    assert "/till/static/worker.js" not in files


def test_the_workers_name_changes_with_bootstraps_version(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bootstrap's addresses do not: a till would else keep the old style for ever."""
    from web.till import shell

    before = client.get("/till/sw.js").text
    true_version = shell.version

    def newer(name: str) -> str:
        return "99.0" if name == "Bootstrap-Flask" else true_version(name)

    monkeypatch.setattr(shell, "version", newer)

    after = client.get("/till/sw.js").text

    assert before.splitlines()[0] != after.splitlines()[0]
    assert before.splitlines()[1:] == after.splitlines()[1:]
    assert client.get("/till/sw.js").headers["Cache-Control"] == "no-cache"


def test_the_start_page_leads_to_the_till() -> None:
    application = Client(pages.create(dict.fromkeys(NAMES, "http://127.0.0.1:9")))

    start = application.get("/?lang=en")
    till = application.get("/till/")

    assert 'href="/till/"' in start.text
    assert "till.css" in till.text
    assert application.get("/tillage").status_code == 404


def test_requests_of_the_page_reach_services_that_listen_elsewhere(
    stand_in: Callable[[], str],
) -> None:
    """Behind a broker each service has a port of its own; the page knows only its own origin."""
    url = stand_in()
    urls = {name: url for name in NAMES}
    passing = Client(pages.with_proxied_services(Response("page"), urls))

    answer = passing.post(
        "/api/orders/v1/till/entries?x=1", json={"a": 1}, headers={"Authorization": "Bearer t"}
    )

    assert answer.status_code == 409
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json == {
        "path": "/api/orders/v1/till/entries?x=1",
        "body": {"a": 1},
        "token": "Bearer t",
    }
    assert passing.get("/till/").text == "page"


@pytest.fixture
def stand_in() -> Any:
    """Start a server that says what it was asked."""
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            said = {"path": self.path, "body": body, "token": self.headers["Authorization"]}
            content = json.dumps(said).encode()
            self.send_response(409)
            self.send_header("Content-Type", "application/problem+json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield lambda: f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()
