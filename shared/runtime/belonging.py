"""Callers who belong to sites, such as a station's clerk, only see and change their sites' rows.

A route that serves them is declared with `@scope(…, by_site=True)` and filters by `caller().sites`:
rows of other sites are not found. Other routes refuse these callers, unless the route's scope is in
`EVERYWHERE` (`shared.web.access`).
"""

from collections.abc import Iterable
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute

from shared.runtime.errors import Forbidden, NotFound

S = TypeVar("S", bound=Select[Any])

#: Scopes that are not limited to sites: the caller's own orders and messages, and goods.
EVERYWHERE = frozenset({"orders:place", "orders:read", "messages:read", "stock:read"})


class OtherSites(Forbidden):
    """Raised when a caller who belongs to sites needs a route or row outside these sites."""


def within(statement: S, column: InstrumentedAttribute[UUID], sites: frozenset[UUID] | None) -> S:
    """Limit a statement to rows of `sites`; None means that the caller is not limited."""
    return statement if sites is None else statement.where(column.in_(sites))


def check_within(
    site_id: UUID, sites: Iterable[UUID] | None, missing: type[NotFound], what: str
) -> None:
    """Check that `site_id` is one of `sites`; None means that the caller is not limited.

    Raises:
        NotFound: it is another site. The error is `missing(what)`, as if the row did not exist.
    """
    if sites is not None and site_id not in sites:
        raise missing(what)
