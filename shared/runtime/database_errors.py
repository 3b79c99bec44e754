"""Removes the values of rows from database errors, for every engine, as soon as it is imported.

PostgreSQL's DETAIL quotes the row that violates a constraint, perhaps with a name or an address.
Errors go to logs, to `parked.error` and to traces, which must not hold personal data. The remaining
first line names the constraint.
"""

import re
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext

#: SQLSTATE class 22, data exceptions: only their first line can quote a value.
DATA_EXCEPTION = "22"
_QUOTED = re.compile('".*"', re.DOTALL)


@event.listens_for(Engine, "handle_error")
def hide_values(context: ExceptionContext) -> None:
    """Reduce the error to the server's first line, in the driver's error and in SQLAlchemy's."""
    original: Any = context.original_exception
    primary = getattr(getattr(original, "diag", None), "message_primary", None)
    if not primary:
        return  # Errors of SQLite name only columns, and connection errors no rows.
    if (original.sqlstate or "").startswith(DATA_EXCEPTION):
        primary = _QUOTED.sub("[hidden]", primary)
    original.args = (primary,)
    wrapped = context.sqlalchemy_exception
    if wrapped is not None:
        kind = type(original)
        wrapped.args = (f"({kind.__module__}.{kind.__name__}) {primary}",)
        wrapped.hide_parameters = True
