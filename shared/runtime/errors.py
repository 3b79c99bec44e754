"""Base classes of the errors that a caller can act on; `shared.web` answers each as a problem.

The base of an error fixes its HTTP status, its own name the stable problem `type`. The message
tells the caller the next step.
"""

import re
from typing import Any


def slug_of(name: str) -> str:
    """Return `out-of-stock` for `OutOfStock`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()


class FarmgateError(Exception):
    """Base of all errors that a caller can act on. `extra` becomes members of the problem."""

    def __init__(self, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra


class BadRequest(FarmgateError):
    """Raised when a request is malformed (400)."""


class Unauthorized(FarmgateError):
    """Raised when a request has no valid token or signature (401)."""


class Forbidden(FarmgateError):
    """Raised when the caller is authenticated but may not do this (403)."""


class NotFound(FarmgateError):
    """Raised when a thing does not exist, or the caller may not see it (404)."""


class Conflict(FarmgateError):
    """Raised when the current state does not allow the request (409)."""


class Gone(FarmgateError):
    """Raised when what is asked for was there and is deleted (410)."""


class Unprocessable(FarmgateError):
    """Raised when a well-formed request has values that are not possible (422)."""


class Unavailable(FarmgateError):
    """Raised when a dependency is unavailable; the same request may succeed later (503)."""


class Misconfigured(FarmgateError):
    """Raised at start when a setting is missing or unsafe; the message names the setting."""
