"""What logistics' HTTP API takes and gives. Events have contracts of their own."""

from typing import Any

from marshmallow import fields, validate


def text(longest: int, **options: Any) -> fields.String:
    """Return a field for text that is not empty."""
    return fields.String(validate=validate.Length(1, longest), **options)
