"""What the till's browser loads: one page, its files, and the worker that keeps them."""

import mimetypes

from flask import Blueprint, Response

from web.till import shell

# A browser refuses a script or a manifest of another type; not every machine knows these.
mimetypes.add_type("text/javascript", ".js")
mimetypes.add_type("application/manifest+json", ".webmanifest")

#: Allows our own files only, and no script inside the page, so nobody can inject one.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; manifest-src 'self'; worker-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)

blueprint = Blueprint(
    "till", __name__, url_prefix="/till", static_folder="static", template_folder="templates"
)


@blueprint.after_request
def _protect(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


@blueprint.get("/")
def page() -> Response:
    """Return the till's only page; the device draws its content, in the clerk's language."""
    response = Response(shell.page(), mimetype="text/html")
    response.headers["Cache-Control"] = "no-cache"
    return response


@blueprint.get("/sw.js")
def worker() -> Response:
    """Return the service worker, which names every file of this version by its digest."""
    response = Response(shell.worker(), mimetype="text/javascript")
    response.headers["Cache-Control"] = "no-cache"
    return response
