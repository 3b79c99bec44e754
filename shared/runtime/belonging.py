"""Callers who belong to sites, such as a station's clerk, see and do only what is of their sites.

A route that answers them says so, `@scope(…, by_site=True)`, and narrows its answer by
`caller().sites`; what is elsewhere does not exist for them. All other routes whose scope is not in
`EVERYWHERE` refuse them (`shared.web.access`).
"""

from collections.abc import Iterable
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute

from shared.runtime.errors import Forbidden, NotFound

S = TypeVar("S", bound=Select[Any])

#: Scopes of routes whose answers no site bounds: one's own orders and messages, and goods.
EVERYWHERE = frozenset({"orders:place", "orders:read", "messages:read", "stock:read"})


class OtherSites(Forbidden):
    """Raised when somebody who belongs to sites asks for what is not of these sites."""


def within(statement: S, column: InstrumentedAttribute[UUID], sites: frozenset[UUID] | None) -> S:
    """Narrow a statement to rows of `sites`; None: the caller is bound to none."""
    return statement if sites is None else statement.where(column.in_(sites))


def check_within(
    site_id: UUID, sites: Iterable[UUID] | None, missing: type[NotFound], what: str
) -> None:
    """Pass when something is of one of `sites`; None: the caller is bound to none.

    Raises:
        NotFound: it is elsewhere; as `missing`, in the words of one that does not exist.
    """
    if sites is not None and site_id not in sites:
        raise missing(what)
