"""Fields that several schemas share, each with the range that makes sense for it."""

import re
from typing import Any

from marshmallow import ValidationError, fields, validate

from services.catalog.rules import has_right_check_digit
from shared.runtime.schemas import Text, matching
from shared.web import RequestSchema, ResponseSchema

#: Grams or pieces: a thousand tonnes, more than any one place holds.
MOST_QUANTITY = 1_000_000_000
#: A million yuan.
MOST_FEN = 100_000_000


def code(**options: Any) -> fields.String:
    """Return a field for a code that people read: ASCII, at most 40 characters."""
    says = "Must be up to 40 letters, digits, '.', '_', '/' or '-'."
    return matching("[A-Za-z0-9][A-Za-z0-9._/-]{0,39}", says, **options)


def gtin(**options: Any) -> fields.String:
    """Return a field for an article number of GS1, with its check digit."""
    expression = "([0-9]{8}|[0-9]{12,14})"
    says = "Must be a GTIN of 8, 12, 13 or 14 digits with the right check digit."

    def check(value: str) -> None:
        if not re.fullmatch(expression, value) or not has_right_check_digit(value):
            raise ValidationError(says)

    metadata = {"pattern": f"^{expression}$", "description": says}
    return fields.String(validate=check, metadata=metadata, **options)


def whole(least: int, most: int, **options: Any) -> fields.Integer:
    """Return a field for a whole number in a range; neither 1.0 nor "1" is one."""
    return fields.Integer(strict=True, validate=validate.Range(min=least, max=most), **options)


def quantity(**options: Any) -> fields.Integer:
    """Return a field for a quantity in the variant's unit, at least 1."""
    return whole(1, MOST_QUANTITY, **options)


class NamesRequest(RequestSchema):
    """A name in the languages that are known."""

    zh = Text(200, required=True)
    bo = Text(200)
    en = Text(200)


class NamesResponse(ResponseSchema):
    """A name in the languages that are known."""

    zh = fields.String(required=True)
    bo = fields.String()
    en = fields.String()
