"""Base classes and fields of the HTTP schemas.

A request with an unknown field is refused. Event contracts, in `shared.events`, ignore unknown
fields instead.
"""

import re
from collections.abc import Mapping
from datetime import date, datetime
from itertools import islice
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, pre_load
from marshmallow.validate import Length, Range

from shared.runtime.clock import FIRST_DAY, LAST_DAY, in_calendar
from shared.runtime.text import normalised

#: The range of a BIGINT column.
LEAST, MOST = -(2**63), 2**63 - 1


#: Unknown fields that are checked together with the known ones; with more of them, only they are
#: reported.
MOST_UNKNOWN = 100
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def check_storable(value: Any) -> None:
    """Refuse text, anywhere inside `value`, that not every database can store.

    JSON can contain NUL characters, which PostgreSQL does not store, and lone surrogates, which
    UTF-8 cannot encode.

    Raises:
        ValidationError: there is such a character.
    """
    waiting = [value]  # no recursion: deeply nested JSON would overflow the stack
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            if _UNSTORABLE.search(item):
                raise ValidationError("Must not hold NUL characters or lone surrogates.")
        elif isinstance(item, dict):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, (list, tuple)):
            waiting += item


class Text(fields.String):
    """Text for people, normalised (see `text`): 1 to `longest` characters, one of them visible.

    The length is that of the normalised text.
    """

    def __init__(self, longest: int, **options: Any) -> None:
        rule = f"1 to {longest} characters; outer, repeated and invisible ones are dropped."
        metadata = dict(options.pop("metadata", {}))
        metadata["description"] = f"{metadata['description']} {rule}" if metadata else rule
        super().__init__(metadata=metadata, **options)
        self.longest = longest

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> str:
        given = super()._deserialize(value, attr, data, **options)
        check_storable(given)
        text = normalised(given)
        if not text:
            raise ValidationError("Must not be blank.")
        if len(text) > self.longest:
            raise ValidationError(f"Must not be longer than {self.longest} characters.")
        return text


class Flag(fields.Boolean):
    """A boolean in a JSON body: only `true` or `false`, not 1, "yes" or "on"."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class Day(fields.Date):
    """A calendar date from 1900 to 2199."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> date:
        day = super()._deserialize(value, attr, data, **options)
        if not FIRST_DAY <= day <= LAST_DAY:
            raise ValidationError(f"Must be a date from {FIRST_DAY} to {LAST_DAY}.")
        return day


class Moment(fields.AwareDateTime):
    """A moment in the years 1900 to 2199 with an offset from UTC; it is converted to UTC."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> datetime:
        moment = super()._deserialize(value, attr, data, **options)
        try:
            return in_calendar(moment)
        except ValueError as error:
            raise ValidationError(f"It {error}.") from error


class Parts(fields.Field[list[Any]]):
    """The parts of an upload, not validated: a malformed part must not stop the others.

    `items` describes a part in the OpenAPI document. The use case validates each part by itself.
    """

    def __init__(self, most: int, items: dict[str, Any]) -> None:
        self.most = most
        metadata = {"type": "array", "minItems": 1, "maxItems": most, "items": items}
        super().__init__(required=True, metadata=metadata)

    def _deserialize(self, value: Any, attr: Any, data: Any, **_: Any) -> list[Any]:
        if not isinstance(value, list) or not 1 <= len(value) <= self.most:
            raise ValidationError(f"Must be a list of 1 to {self.most} parts.")
        return value


def matching(expression: str, description: str, **options: Any) -> fields.String:
    """Return a field for text that matches `expression` as a whole.

    `description` is for the OpenAPI document and the error. marshmallow's own Regexp would accept a
    final newline, and Python's `\\Z` has another meaning in the document's regular expressions.
    """

    def check(value: str) -> None:
        if not re.fullmatch(expression, value):
            raise ValidationError(description)

    metadata = {"pattern": f"^{expression}$", "description": description}
    return fields.String(validate=check, metadata=metadata, **options)


class RequestSchema(Schema):
    """A request; unknown fields and text that cannot be stored are refused."""

    class Meta:
        unknown = RAISE

    #: Whether the parts of the body are validated one by one: a flaw then refuses only its part.
    KEEPS_FLAWED = False

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Add the checks that every field needs, after the field's own."""
        # A new list each time: a bound field shares its list with the declaration.
        if isinstance(field_obj, fields.Integer):
            field_obj.validators = [*field_obj.validators, Range(LEAST, MOST)]
        elif isinstance(field_obj, (fields.String, fields.Dict, fields.Raw)):
            field_obj.validators = [*field_obj.validators, check_storable]
        elif isinstance(field_obj, fields.List):
            self.on_bind_field(field_name, field_obj.inner)

    @pre_load
    def check_sizes(self, data: Any, **_: Any) -> Any:
        """Refuse a list or an object with too many parts before a part is validated."""
        if isinstance(data, Mapping):
            if len(data) > len(self.load_fields) + MOST_UNKNOWN:
                known = {field.data_key or name for name, field in self.load_fields.items()}
                unknown = islice((key for key in data if key not in known), MOST_UNKNOWN + 1)
                raise ValidationError({key: ["Unknown field."] for key in unknown})
            wrong = {}
            for name, field in self.load_fields.items():
                parts = data.get(field.data_key or name)
                if isinstance(field, (fields.List, fields.Dict)) and isinstance(parts, list | dict):
                    try:
                        for check in field.validators:
                            if isinstance(check, Length):
                                check(parts)
                    except ValidationError as error:
                        wrong[field.data_key or name] = error.messages
            if wrong:
                raise ValidationError(wrong)
        return data

    @pre_load
    def refuse_words_for_booleans(self, data: Any, **_: Any) -> Any:
        """Refuse "yes" or 1 for a boolean in JSON; a query string may contain them."""
        if isinstance(data, dict):
            wrong = {
                field.data_key or name: ["Not a valid boolean."]
                for name, field in self.load_fields.items()
                if isinstance(field, fields.Boolean)
                and not isinstance(data.get(field.data_key or name), bool | None)
            }
            if wrong:
                raise ValidationError(wrong)
        return data


class ResponseSchema(Schema):
    """A response; it contains only the declared fields."""
