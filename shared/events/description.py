"""What the JSON Schemas of the contracts say: for the compatibility check, documents and pages.

`make docs` writes the schemas, one real example of each public event, and the AsyncAPI document
into the folders beside this module; services read and serve the files.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from shared.events import EVENTS

Schema = Mapping[str, Any]

SCHEMAS = Path(__file__).parent / "schemas"
EXAMPLES = Path(__file__).parent / "examples"
ASYNCAPI = Path(__file__).parent / "asyncapi.json"
#: The name of the envelope's schema, beside the event types.
ENVELOPE = "envelope"
#: The types that integrators may see.
PUBLIC = tuple(contract.routing_key for contract in EVENTS if contract.public)

#: Formats and types of JSON Schema → words for readers.
_WORDS = {
    "uuid": "uuid",
    "date-time": "moment",
    "string": "text",
    "boolean": "true or false",
    "array": "list",
}
#: Keywords that describe a value and allow or refuse none.
_ANNOTATIONS = {"$schema", "$id", "$defs", "title", "description", "type", "format", "x-unit"}
_STRUCTURE = {"properties", "required", "items", "anyOf", "$ref", "x-subject", "x-public"}
#: Limit → its phrase.
_PHRASES = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "of at least {} characters",
    "maxLength": "of at most {} characters",
    "minItems": "of at least {}",
    "maxItems": "of at most {}",
}


@dataclass(frozen=True)
class Field:
    """One value of an event, read from its schema."""

    #: `uuid`, `text`, `integer`, `true or false`, `moment`, `date`, `object`, `list`.
    kind: str
    nullable: bool
    #: The keywords that allow or refuse values, such as `enum` or `minimum`.
    limits: Schema
    unit: str | None
    description: str
    #: The fields of an object.
    fields: Mapping[str, "Field"]
    #: Those of them that are always there.
    required: frozenset[str]
    #: The members of a list.
    members: "Field | None"

    def __str__(self) -> str:
        """Return the type in words, such as `integer, at least 0, fen (1/100 CNY), or null`."""
        words = f"{self.kind} of {self.members}" if self.members else self.kind
        if (values := self.limits.get("enum")) is not None:
            words = "one of " + ", ".join(f"`{value}`" for value in values)
        for keyword, phrase in _PHRASES.items():
            if keyword in self.limits:
                words += f", {phrase.format(self.limits[keyword])}"
        if self.unit:
            words += f", {self.unit}"
        return f"{words}, or null" if self.nullable else words

    def rows(self, above: str = "") -> Iterator[tuple[str, bool, "Field"]]:
        """Yield path, whether it is always there, and field, for all fields inside this one.

        A path is, for example, `lines[].lots[].lot_id`.
        """
        for name, field in self.fields.items():
            path = f"{above}{name}"
            yield path, name in self.required, field
            inner = field
            while inner.members is not None:
                path, inner = f"{path}[]", inner.members
            yield from inner.rows(f"{path}.")


def read_field(schema: Schema, root: Schema | None = None) -> Field:
    """Return what a schema says; its `$ref`s are names in the `$defs` of `root`."""
    root = root or schema
    nullable, node = False, dict(schema)
    while "$ref" in node or "anyOf" in node:
        if "$ref" in node:
            node = {**root["$defs"][node.pop("$ref").rpartition("/")[2]], **node}
        else:
            choices = node.pop("anyOf")
            nullable = nullable or {"type": "null"} in choices
            (choice,) = (each for each in choices if each != {"type": "null"})
            node = {**choice, **node}
    kind = node.get("format") or node.get("type", "string")
    items = node.get("items")
    return Field(
        kind=_WORDS.get(kind, kind),
        nullable=nullable,
        limits={key: node[key] for key in node if key not in _ANNOTATIONS | _STRUCTURE},
        unit=node.get("x-unit"),
        description=node.get("description", ""),
        fields={name: read_field(each, root) for name, each in node.get("properties", {}).items()},
        required=frozenset(node.get("required", ())),
        members=None if items is None else read_field(items, root),
    )


@cache
def schema(name: str) -> Schema:
    """Return the schema of an event type, or of the envelope.

    Raises:
        OSError: there is none.
    """
    return read_json(SCHEMAS / f"{name}.json")


@cache
def example(type_: str) -> Schema:
    """Return a real event of a public type, as it was published.

    Raises:
        OSError: there is none.
    """
    return read_json(EXAMPLES / f"{type_}.json")


def read_json(path: Path) -> Schema:
    """Return the object in a JSON file."""
    found: dict[str, Any] = msgspec.json.decode(path.read_bytes())
    return found
