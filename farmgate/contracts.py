"""Write the JSON Schema of every event contract, and refuse incompatible changes.

`python -m farmgate.contracts` writes `shared/events/schemas`; with `--check` it only compares, and
exits 1 if a contract broke or a schema is out of date. It does not write while a contract is broken
or the schemas are missing; `--accept-break` does, for a type that has no readers yet.

Events live longer than code: the feed and the stream keep them, and an integrator upgrades when
it likes. So a contract must be backward and forward compatible: it reads events of older versions,
and older versions read its events. Only a new optional field is both. Allowed values and limits
count, too: a narrower one refuses stored events, and old readers refuse a wider one.
"""

import argparse
import inspect
import json
import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from shared.events import EVENTS, Fact, Moment, Part
from shared.events.description import ENVELOPE, SCHEMAS, Field, Schema, read_field, read_json
from shared.messaging.envelope import CloudEvent, dataschema_of

#: Limit → its sign (1 for a lower limit, -1 for an upper one) and two phrases for messages.
LIMITS = {
    "minimum": (1, "at least {}", "less than {}"),
    "maximum": (-1, "at most {}", "more than {}"),
    "minLength": (1, "of a length of at least {}", "shorter than {}"),
    "maxLength": (-1, "of a length of at most {}", "longer than {}"),
    "minItems": (1, "of a length of at least {}", "shorter than {}"),
    "maxItems": (-1, "of a length of at most {}", "longer than {}"),
}


def described(contracts: Iterable[type[Fact]] = EVENTS) -> dict[str, Schema]:
    """Return the schemas of the envelope and of the contracts, by name and by event type."""
    found: dict[str, Schema] = {ENVELOPE: _envelope()}
    for contract in contracts:
        more = {"x-subject": contract.subject, "x-public": contract.public}
        found[contract.routing_key] = schema_of(contract.routing_key, contract) | more
    return found


def schema_of(name: str, struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON Schema of a struct, with its docstring and the comments `#:` of its fields.

    Raises:
        TypeError: a field has a type that JSON Schema does not know.
    """
    told = msgspec.json.schema(struct, schema_hook=_of_moment)
    parts: dict[str, Any] = told["$defs"]
    known = {part.__name__: part for part in _below(Part)} | {struct.__name__: struct}
    for part_name, part in parts.items():
        part["description"] = _unwrapped(part.get("description", ""))
        for field, comment in _comments(known[part_name]).items():
            if field in part["properties"]:
                part["properties"][field]["description"] = comment
    own = parts.pop(struct.__name__)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": dataschema_of(name)}
    return head | own | ({"$defs": parts} if parts else {})


def _envelope() -> dict[str, Any]:
    schema = schema_of(ENVELOPE, CloudEvent)
    data = schema["properties"]["data"]
    schema["properties"]["data"] = {"type": "object", "description": data["description"]}
    del schema["$defs"]
    return schema


def _of_moment(kind: type) -> dict[str, Any]:
    if kind is Moment:
        return {"type": "string", "format": "date-time"}
    raise TypeError(f"{kind}: JSON Schema has no word for it")


def _below(base: type[Part]) -> Iterator[type[Part]]:
    for part in base.__subclasses__():
        yield part
        yield from _below(part)


def _unwrapped(text: str) -> str:
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text)


def _comments(struct: type) -> dict[str, str]:
    """Return the comments above the fields of a struct and of its bases, by field."""
    found = {}
    for base in reversed(struct.__mro__):
        if base is msgspec.Struct or not issubclass(base, msgspec.Struct):
            continue
        comment: list[str] = []
        for line in map(str.strip, inspect.getsource(base).splitlines()):
            if line.startswith("#:"):
                comment.append(line.removeprefix("#:").strip())
            elif comment:
                found[line.partition(":")[0]] = " ".join(comment)
                comment = []
    return found


def breaks(recorded: Mapping[str, Schema], present: Mapping[str, Schema]) -> list[str]:
    """Return a sentence for each incompatible change: what changed, and what to do instead.

    A new event type and a new optional field are compatible.
    """
    found = []
    for key, before in recorded.items():
        after = present.get(key)
        changes = ["the event type is gone"] if after is None else _changes(before, after)
        found += [f"{key}: {change}; {_instead(key)}." for change in changes]
    return found


def _instead(key: str) -> str:
    stem, _, version = key.rpartition(".v")
    if not stem:
        return "leave it unchanged: every stored event has this envelope"
    return (
        f"leave it unchanged, and add `{stem}.v{int(version) + 1}` beside it, as "
        'docs/operations.md says under "A new version of an event"'
    )


def _changes(before: Schema, after: Schema) -> Iterator[str]:
    was, now = before.get("x-subject"), after.get("x-subject")
    if was != now:
        yield f"the subject was `{was}` and is now `{now}`"
    words = ["public" if each.get("x-public") else "internal" for each in (before, after)]
    if words[0] != words[1]:
        yield "the event was {} and is now {}".format(*words)
    yield from _field_changes("", read_field(before), read_field(after))


def _field_changes(above: str, before: Field, after: Field) -> Iterator[str]:
    """Compare the fields of two objects."""
    for name, was in before.fields.items():
        path = f"{above}{name}"
        now = after.fields.get(name)
        if now is None:
            yield f"the field `{path}` is gone"
            continue
        if name in after.required - before.required:
            yield f"the field `{path}` is now required, and stored events may not have it"
        if name in before.required - after.required:
            yield f"the field `{path}` is now optional, and its readers require it"
        yield from _value_changes(path, was, now)
    # Required fields inside a new optional field are compatible.
    for name in after.fields.keys() - before.fields.keys():
        if name in after.required:
            yield f"the new field `{above}{name}` is required, and stored events do not have it"


def _value_changes(path: str, before: Field, after: Field) -> Iterator[str]:
    if _kind(before) != _kind(after):
        # Fields, members and limits of another type need no sentence of their own.
        yield f"the field `{path}` was {_kind(before)} and is now {_kind(after)}"
        return
    if after.nullable and not before.nullable:
        yield f"the field `{path}` may now be null, and its readers do not expect that"
    if before.nullable and not after.nullable:
        yield f"the field `{path}` may no longer be null, and in stored events it may be"
    yield from _limit_changes(path, before.limits, after.limits)
    if before.members is not None and after.members is not None:
        yield from _value_changes(f"{path}[]", before.members, after.members)
    yield from _field_changes(f"{path}.", before, after)


def _kind(field: Field) -> str:
    return field.kind if field.members is None else f"list of {_kind(field.members)}"


def _limit_changes(path: str, before: Schema, after: Schema) -> Iterator[str]:
    old, new = before.get("enum"), after.get("enum")
    if old is None and new is not None:
        yield f"the field `{path}` must now be {_any_of(new)}, and stored events may differ"
    elif old is not None and new is None:
        yield f"the field `{path}` may now be anything, and its readers take only {_any_of(old)}"
    elif old is not None and new is not None:
        if gone := [value for value in old if value not in new]:
            yield f"the field `{path}` may no longer be {_any_of(gone)}, and stored events may be"
        if added := [value for value in new if value not in old]:
            yield f"the field `{path}` may now be {_any_of(added)}, and its readers refuse that"
    for keyword, (sign, within, beyond) in LIMITS.items():
        was, now = (sign * each.get(keyword, -sign * math.inf) for each in (before, after))
        if now > was:
            words = within.format(sign * now)
            yield f"the field `{path}` must now be {words}, and stored events may not be"
        if now < was:
            words = beyond.format(sign * was)
            yield f"the field `{path}` may now be {words}, and its readers refuse that"
    for keyword in sorted((before.keys() | after.keys()) - {"enum", *LIMITS}):
        was, now = before.get(keyword), after.get(keyword)
        if was != now:
            yield f"the `{keyword}` of the field `{path}` was {was} and is now {now}"


def _any_of(values: Iterable[Any]) -> str:
    return " or ".join(f"`{value}`" for value in values)


def written(schema: Schema) -> str:
    """Return a schema as the text of its file."""
    return json.dumps(schema, ensure_ascii=False, indent=1) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Write the schemas, or with `--check` compare them; return the exit code."""
    parser = argparse.ArgumentParser(description="The JSON Schemas of the event contracts.")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--check", action="store_true", help="only compare")
    group.add_argument("--accept-break", action="store_true", help="write in spite of breaks")
    options = parser.parse_args(arguments)

    files = {path.stem: path for path in SCHEMAS.glob("*.json")}
    # New schemas would accept any break.
    if not files and not options.accept_break:
        print(
            "shared/events/schemas is missing: restore it with "
            "`git checkout shared/events/schemas`",
            file=sys.stderr,
        )
        return 1
    present = described()
    recorded = {name: read_json(path) for name, path in files.items()}
    found = [] if options.accept_break else breaks(recorded, present)
    for sentence in found:
        print(sentence, file=sys.stderr)
    if found:
        print("shared/events/schemas was not changed", file=sys.stderr)
        return 1
    if options.check:
        late = [
            name
            for name in present.keys() | files.keys()
            if name not in files
            or files[name].read_text(encoding="utf-8") != written(present.get(name, {}))
        ]
        for name in sorted(late):
            print(f"the schema of {name} is out of date: run `make docs`", file=sys.stderr)
        return 1 if late else 0
    SCHEMAS.mkdir(exist_ok=True)
    for name in files.keys() - present.keys():
        files[name].unlink()
    for name, schema in present.items():
        (SCHEMAS / f"{name}.json").write_text(written(schema), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
