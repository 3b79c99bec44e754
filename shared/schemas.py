"""Bases of the HTTP schemas: what comes in is checked to the last field, what goes out is listed.

Event contracts have a base of their own, in `shared.events`: unlike requests, they let unknown
fields pass.
"""

from typing import Any, ClassVar

from marshmallow import RAISE, Schema, ValidationError, fields
from marshmallow.validate import Range

#: What a BIGINT column holds.
LEAST, MOST = -(2**63), 2**63 - 1


def check_storable(value: Any) -> None:
    """Refuse text that a database or UTF-8 cannot hold, anywhere inside `value`.

    PostgreSQL stores no NUL character, and half of a surrogate pair has no UTF-8 form; JSON
    can spell both.

    Raises:
        ValidationError: there is such a character.
    """
    if isinstance(value, str):
        if "\x00" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise ValidationError("Must not hold NUL characters or lone surrogates.")
    elif isinstance(value, dict):
        for key, item in value.items():
            check_storable(key)
            check_storable(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            check_storable(item)


class RequestSchema(Schema):
    """What a client may send: an unknown field is refused, and so is what cannot be stored."""

    class Meta:
        unknown = RAISE

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Add the checks that every field needs; a field's own come first."""
        # A new list each: bound fields share theirs with the declaration.
        if isinstance(field_obj, fields.Integer):
            field_obj.validators = [*field_obj.validators, Range(LEAST, MOST)]
        elif isinstance(field_obj, (fields.String, fields.Dict, fields.Raw)):
            field_obj.validators = [*field_obj.validators, check_storable]
        elif isinstance(field_obj, fields.List):
            self.on_bind_field(field_name, field_obj.inner)


class ResponseSchema(Schema):
    """What a client is shown, and nothing else."""

    class Meta:
        ordered: ClassVar[bool] = True
