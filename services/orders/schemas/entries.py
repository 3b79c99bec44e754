"""The entries of a till's journal as the document shows them, from the structs that read them."""

from typing import Any

import msgspec

from services.orders.rules.entries import BY_KIND

Json = dict[str, Any]

#: Labels that each till sends; an entry without one of them is only flagged.
_EXPECTED = ("device_time", "clerk", "name", "phone")
_, _SCHEMAS = msgspec.json.schema_components(BY_KIND.values(), ref_template="{name}")


def _shown(schema: Any) -> Any:
    """Return a schema with those that it refers to in their place."""
    if isinstance(schema, list):
        return [_shown(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _shown(_SCHEMAS[schema["$ref"]])
    shown = {name: _shown(value) for name, value in schema.items()}
    if "properties" in schema:
        expected = [name for name in _EXPECTED if name in schema["properties"]]
        shown["required"] = [*schema["required"], *expected]
        for name in expected:
            del shown["properties"][name]["default"]
    return shown


#: By kind.
ENTRIES: dict[str, Json] = {
    kind: _shown(_SCHEMAS[entry.__name__]) for kind, entry in BY_KIND.items()
}
#: As the document says it: what fits no kind is taken, too.
ANY_ENTRY: Json = {
    "anyOf": [
        *ENTRIES.values(),
        {
            "title": "anything else",
            "description": "With a usable number it is kept as disputed, unreadable; without "
            "one it is refused. It stops none of the others. A flaw in a label (a name, a note, a "
            "telephone number, the clock) is no reason for it: the entry is flagged instead.",
        },
    ]
}
#: A sale, as the document shows it.
SALE_EXAMPLE: Json = {
    "number": 17,
    "kind": "sale",
    "device_time": "2026-11-25T08:30:00Z",
    "clerk": "卓嘎",
    "shift": 12,
    "lines": [
        {
            "line_no": 1,
            "variant_id": "0198d1f2-6a3b-7c4d-8e5f-0123456789ac",
            "lot_id": "0198d1f2-6a3b-7c4d-8e5f-0123456789ae",
            "quantity": 500,
            "price_fen": 6800,
            "price_unit": 500,
            "line_total_fen": 6800,
        }
    ],
    "total_fen": 6800,
    "payment": "cash",
    "voided": False,
}
