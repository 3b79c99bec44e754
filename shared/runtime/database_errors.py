"""Errors of a database without the values of its rows; importing this is all there is to do.

PostgreSQL's DETAIL quotes the row that a constraint refused: a name, an address. Errors go to logs,
to `parked.error` and to traces, where personal data must not be. What is left names the constraint.
"""

import re
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext

#: SQLSTATE class 22, data exceptions: their first line quotes the value, others' names only.
DATA_EXCEPTION = "22"
_QUOTED = re.compile('".*"', re.DOTALL)


@event.listens_for(Engine, "handle_error")
def hide_values(context: ExceptionContext) -> None:
    """Reduce the error to the server's first line, in the driver's error and in SQLAlchemy's."""
    original: Any = context.original_exception
    primary = getattr(getattr(original, "diag", None), "message_primary", None)
    if not primary:
        return  # SQLite's errors name columns only, and those of a connection no rows.
    if (original.sqlstate or "").startswith(DATA_EXCEPTION):
        primary = _QUOTED.sub("[hidden]", primary)
    original.args = (primary,)
    wrapped = context.sqlalchemy_exception
    if wrapped is not None:
        kind = type(original)
        wrapped.args = (f"({kind.__module__}.{kind.__name__}) {primary}",)
        wrapped.hide_parameters = True
