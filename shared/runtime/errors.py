"""The errors that mean something to a caller; `shared.web` turns each into a problem answer.

A leaf is named for what is wrong. Its class fixes the HTTP status (by its base) and the
stable problem `type` (by its own name); the message says what to do next.
"""

import re
from typing import Any


def slug_of(name: str) -> str:
    """Return `out-of-stock` for `OutOfStock`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()


class FarmgateError(Exception):
    """Base of all errors a caller can act on. `extra` is shown as problem extension members."""

    def __init__(self, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra


class BadRequest(FarmgateError):
    """Raised when a request cannot be understood (400)."""


class Unauthorized(FarmgateError):
    """Raised when no valid token or signature came with a request (401)."""


class Forbidden(FarmgateError):
    """Raised when the token is valid but lacks the scope (403)."""


class NotFound(FarmgateError):
    """Raised when a thing does not exist, or is not the asker's to see (404)."""


class Conflict(FarmgateError):
    """Raised when the present state does not allow what was asked (409)."""


class Unprocessable(FarmgateError):
    """Raised when the request is well formed but names something impossible (422)."""


class Unavailable(FarmgateError):
    """Raised when something needed is away for now; the same request may succeed later (503)."""


class Misconfigured(FarmgateError):
    """Raised at start, when a setting is missing or unsafe; the message names the setting."""
