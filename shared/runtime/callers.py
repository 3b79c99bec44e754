"""Who sent a request and what they may do, however they said so: by a token or by a key.

Apart from `auth`, which checks tokens: workers know callers, but need no cryptography.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from shared.runtime.errors import Unauthorized


@dataclass(frozen=True)
class Caller:
    """Who sent a request and what they may do; a public route's caller is nobody (`""`)."""

    subject: str = ""
    scopes: frozenset[str] = field(default_factory=frozenset)
    #: What a key says of its bearer, such as a device's site; a token's caller has none.
    claims: Mapping[str, str] = field(default_factory=dict)
    #: The sites that the caller belongs to; None: the caller is bound to none.
    sites: frozenset[UUID] | None = None

    def may(self, scope: str) -> bool:
        """Tell whether the caller's token holds `scope`."""
        return scope in self.scopes


ANYBODY = Caller()


class InvalidToken(Unauthorized):
    """Raised when a request has no token, or one that does not count."""
