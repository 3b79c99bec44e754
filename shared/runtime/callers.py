"""The caller of a request, authenticated by a token or by an API key.

Apart from `auth`, which verifies tokens: a worker uses callers but needs no cryptography.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from shared.runtime.errors import Unauthorized


@dataclass(frozen=True)
class Caller:
    """The sender of a request with its scopes; the subject is empty on a public route."""

    subject: str = ""
    scopes: frozenset[str] = field(default_factory=frozenset)
    #: Claims of an API key, such as its device's site; a token's caller has none.
    claims: Mapping[str, str] = field(default_factory=dict)
    #: The sites that the caller belongs to; None means that the caller is not limited to sites.
    sites: frozenset[UUID] | None = None

    def may(self, scope: str) -> bool:
        """Tell whether the caller has `scope`."""
        return scope in self.scopes


ANYBODY = Caller()


class InvalidToken(Unauthorized):
    """Raised when a request has no token or key, or an invalid one."""
