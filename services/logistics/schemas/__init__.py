"""What logistics' HTTP API takes and gives. Events have contracts of their own."""

import re
from typing import Any

from marshmallow import ValidationError, fields, validate


def text(longest: int, **options: Any) -> fields.String:
    """Return a field for text that is not empty."""
    return fields.String(validate=validate.Length(1, longest), **options)


def pattern(expression: str, says: str, **options: Any) -> fields.String:
    """Return a field for text that matches `expression` as a whole; `says` describes it.

    marshmallow's own Regexp would let a final newline through.
    """

    def check(value: str) -> None:
        if not re.fullmatch(expression, value):
            raise ValidationError(says)

    metadata = {"pattern": f"^{expression}$", "description": says}
    return fields.String(validate=check, metadata=metadata, **options)
