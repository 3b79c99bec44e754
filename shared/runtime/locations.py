"""Redirects without a host: the application never uses the client's `Host` header."""

from urllib.parse import urlsplit

from flask import Flask, Response


def keep_relative(app: Flask) -> None:
    """Make all redirects of `app` relative.

    Werkzeug's router builds the URL from `Host`, which a client can forge: a cache could then send
    other clients to a foreign host.
    """

    @app.after_request
    def shorten(response: Response) -> Response:
        location = response.headers.get("Location", "")
        parts = urlsplit(location)
        if parts.netloc:
            # A browser reads a path with several leading slashes as a host.
            path = "/" + parts.path.lstrip("/")
            response.headers["Location"] = parts._replace(scheme="", netloc="", path=path).geturl()
            response.data = b""
        return response
