"""All pages on one address: the start page, and the till with its files."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from werkzeug.middleware.http_proxy import ProxyMiddleware

import web
from farmgate import start_page
from farmgate.http_server import Application
from farmgate.services import ALSO

#: Seconds a proxied request may take; longer than a buyer's longest wait (`Prefer: wait`).
PROXY_SECONDS = 60


def create(urls: Mapping[str, str]) -> Application:
    """Return the pages' application; the start page shows the state of the services at `urls`."""
    start: Application = start_page.create_app(urls)
    pages: Application = web.create_app()

    def choose(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        chosen = pages if path == "/till" or path.startswith("/till/") else start
        return chosen(environ, start_response)

    return choose


def with_proxied_services(application: Application, urls: Mapping[str, str]) -> Application:
    """Return `application` with a reverse proxy from `/api/<service>/…` to the services."""
    every = {**urls, **{name: urls[service] for name, service in ALSO.items()}}
    targets = {f"/api/{name}/": {"target": url} for name, url in every.items()}
    proxied: Application = ProxyMiddleware(application, targets, timeout=PROXY_SECONDS)
    return proxied
