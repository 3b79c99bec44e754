"""All pages on one address: the start page, and the till with its files."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from werkzeug.middleware.http_proxy import ProxyMiddleware

import web
from farmgate import start_page

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

#: Seconds until a service must have answered a request that is passed on to it. A buyer's
#: longest wait for a decision (`Prefer: wait`) fits in.
PATIENCE = 60


def create(urls: Mapping[str, str]) -> Application:
    """Return the pages' application; the start page watches the services at `urls`."""
    start: Application = start_page.create_app(urls)
    pages: Application = web.create_app()

    def choose(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        chosen = pages if path == "/till" or path.startswith("/till/") else start
        return chosen(environ, start_response)

    return choose


def with_proxied_services(application: Application, urls: Mapping[str, str]) -> Application:
    """Return `application` with `/api/<service>/…` passed on to the service's own address."""
    targets = {f"/api/{name}/": {"target": url} for name, url in urls.items()}
    passing: Application = ProxyMiddleware(application, targets, timeout=PATIENCE)
    return passing
