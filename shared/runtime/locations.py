"""Redirections that name a path only: what a client says in `Host` is nowhere believed."""

from urllib.parse import urlsplit

from flask import Flask, Response


def keep_relative(app: Flask) -> None:
    """Let no answer of `app` name a host; all that it redirects to is its own.

    Werkzeug's router builds an address from `Host`, which anybody can set: a cache, or whoever
    follows the answer, would be sent elsewhere.
    """

    @app.after_request
    def shorten(response: Response) -> Response:
        location = response.headers.get("Location", "")
        parts = urlsplit(location)
        if parts.netloc:
            # Of several slashes in front, a browser would read a host again.
            path = "/" + parts.path.lstrip("/")
            response.headers["Location"] = parts._replace(scheme="", netloc="", path=path).geturl()
            response.data = b""
        return response
