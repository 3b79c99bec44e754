"""Record every event contract, and refuse incompatible changes.

`python -m farmgate.contracts` writes `docs/contracts.json`; with `--check` it only compares, and
exits 1 if a contract broke or the file is out of date. It does not write while a contract is
broken or the file is missing; `--accept-break` does, for a type that has no readers yet.

Events live longer than code: the feed and the stream keep them, and an integrator upgrades when
it likes. So a contract must be backward and forward compatible: it reads events of older versions,
and older versions read its events. Only a new optional field is both. Allowed values and limits
count, too: a narrower one refuses stored events, and old readers refuse a wider one.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, NotRequired, TypedDict, Union, get_args, get_origin
from uuid import UUID

import msgspec

from shared.events import EVENTS, Fact, Moment, Part

FILE = Path(__file__).parent.parent / "docs" / "contracts.json"

#: Type names in the record, independent of Python's class names.
KINDS: dict[Any, str] = {
    UUID: "uuid",
    str: "text",
    int: "integer",
    bool: "boolean",
    Moment: "moment",
    date: "date",
}
#: The constraints of `msgspec.Meta`, and their names in the record.
CHECKS = ("gt", "ge", "lt", "le", "multiple_of", "pattern", "min_length", "max_length")
WORDS = {"ge": "least", "le": "most", "min_length": "shortest", "max_length": "longest"}

#: Limit in the record → its sign (1 for a lower limit, -1 for an upper one) and two phrases for
#: messages. Lengths are in characters, or in members of a list.
LIMITS = {
    "least": (1, "at least {}", "less than {}"),
    "most": (-1, "at most {}", "more than {}"),
    "shortest": (1, "of a length of at least {}", "shorter than {}"),
    "longest": (-1, "of a length of at most {}", "longer than {}"),
}


class Allowed(TypedDict):
    """The values that a field may have; no key means no limit."""

    values: NotRequired[list[Any]]
    least: NotRequired[int]
    most: NotRequired[int]
    shortest: NotRequired[int]
    longest: NotRequired[int]
    #: The allowed values of a list's members.
    each: NotRequired["Allowed"]


class Member(Allowed):
    """One field of a contract."""

    type: str
    required: bool
    nullable: bool


class Contract(TypedDict):
    """The contract of one event type; `fields` by path, such as `lines[].lots[].lot_id`."""

    subject: str
    public: bool
    fields: dict[str, Member]


def described(events: Iterable[type[Fact]] = EVENTS) -> dict[str, Contract]:
    """Return the contract of each event class, by routing key.

    Raises:
        KeyError: `KINDS` has no name for a field's type.
        TypeError: the record has no name for a field's constraint.
    """
    return {
        event.routing_key: {
            "subject": event.subject,
            "public": event.public,
            "fields": dict(_members(event)),
        }
        for event in events
    }


def _members(part: type[Part], above: str = "") -> Iterator[tuple[str, Member]]:
    for field in msgspec.structs.fields(part):
        path = above + field.encode_name
        type_ = type_of(path, field.type)
        yield (
            path,
            {
                "type": type_.kind,
                "required": field.required,
                "nullable": type_.nullable,
                **type_.allowed,
            },
        )
        if type_.part is not None:
            yield from _members(type_.part, f"{path}{type_.kind.count('list') * '[]'}.")


@dataclass(frozen=True)
class FieldType:
    """A field's type in the terms of the record."""

    kind: str
    nullable: bool
    allowed: Allowed
    #: The struct of an object, or of a list's members.
    part: type[Part] | None = None


def type_of(path: str, annotation: Any) -> FieldType:
    """Return the type of the field at `path` from its annotation.

    Raises:
        KeyError: `KINDS` has no name for the type.
        TypeError: the record has no name for a constraint.
    """
    limits: dict[str, Any] = {}
    nullable = False
    while True:
        origin, inner = get_origin(annotation), get_args(annotation)
        if origin in (Union, UnionType):
            choices = [each for each in inner if each is not msgspec.UnsetType]
            nullable = type(None) in choices
            (annotation,) = (each for each in choices if each is not type(None))
        elif origin is Annotated:
            annotation = inner[0]
            for meta in inner[1:]:
                limits |= _limits(path, meta)
        else:
            break
    if origin is list:
        member = type_of(f"{path}[]", inner[0])
        if member.allowed:
            limits["each"] = member.allowed
        kind = f"list of {member.kind}{' or null' if member.nullable else ''}"
        return FieldType(kind, nullable, Allowed(**limits), member.part)  # type: ignore[typeddict-item]
    if origin is Literal:
        return FieldType("text", nullable, Allowed(values=list(inner)))
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return FieldType("object", nullable, Allowed(), annotation)
    return FieldType(KINDS[annotation], nullable, Allowed(**limits))  # type: ignore[typeddict-item]


def _limits(path: str, meta: msgspec.Meta) -> dict[str, Any]:
    limits = {name: value for name in CHECKS if (value := getattr(meta, name)) is not None}
    if limits.keys() - WORDS.keys():
        raise TypeError(f"{path}: the record has no name for {meta!r}")
    return {WORDS[name]: value for name, value in limits.items()}


def breaks(recorded: Mapping[str, Contract], present: Mapping[str, Contract]) -> list[str]:
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
    return (
        f"leave it unchanged, and add `{stem}.v{int(version) + 1}` beside it, as "
        'docs/operations.md says under "A new version of an event"'
    )


def _changes(before: Contract, after: Contract) -> list[str]:
    found = []
    if before["subject"] != after["subject"]:
        found.append(f"the subject was `{before['subject']}` and is now `{after['subject']}`")
    if before["public"] != after["public"]:
        words = ("public", "internal") if before["public"] else ("internal", "public")
        found.append("the event was {} and is now {}".format(*words))
    return found + _field_changes(before["fields"], after["fields"])


def _field_changes(before: Mapping[str, Member], after: Mapping[str, Member]) -> list[str]:
    found = []
    # Removed or with another type: the fields inside need no sentence of their own.
    replaced: set[str] = set()
    # Sorted, so that a field comes before the fields inside it.
    for path in sorted(before):
        if _parent(path) in replaced:
            replaced.add(path)
        elif path not in after:
            replaced.add(path)
            found.append(f"the field `{path}` is gone")
        else:
            if before[path]["type"] != after[path]["type"]:
                replaced.add(path)
            found += _member_changes(path, before[path], after[path])
    for path in sorted(after.keys() - before.keys()):
        # Required fields inside a new optional field are compatible.
        has_old_parent = _parent(path) in ("", *before) and _parent(path) not in replaced
        if after[path]["required"] and has_old_parent:
            found.append(f"the new field `{path}` is required, and stored events do not have it")
    return found


def _parent(path: str) -> str:
    """Return the path of the enclosing field, "" for a field of the event itself."""
    return path.rpartition(".")[0].rstrip("[]")


def _member_changes(path: str, before: Member, after: Member) -> Iterator[str]:
    if before["type"] != after["type"]:
        yield f"the field `{path}` was {before['type']} and is now {after['type']}"
    if after["required"] and not before["required"]:
        yield f"the field `{path}` is now required, and stored events may not have it"
    if before["required"] and not after["required"]:
        yield f"the field `{path}` is now optional, and its readers require it"
    if after["nullable"] and not before["nullable"]:
        yield f"the field `{path}` may now be null, and its readers do not expect that"
    if before["nullable"] and not after["nullable"]:
        yield f"the field `{path}` may no longer be null, and in stored events it may be"
    if before["type"] == after["type"]:
        yield from _allowed_changes(path, before, after)


def _allowed_changes(path: str, before: Allowed, after: Allowed) -> Iterator[str]:
    old, new = before.get("values"), after.get("values")
    if old is None and new is not None:
        yield f"the field `{path}` must now be {_any_of(new)}, and stored events may differ"
    elif old is not None and new is None:
        yield f"the field `{path}` may now be anything, and its readers take only {_any_of(old)}"
    elif old is not None and new is not None:
        if gone := [value for value in old if value not in new]:
            yield f"the field `{path}` may no longer be {_any_of(gone)}, and stored events may be"
        if added := [value for value in new if value not in old]:
            yield f"the field `{path}` may now be {_any_of(added)}, and its readers refuse that"
    for name, (sign, within, beyond) in LIMITS.items():
        was, now = _limit(before, name, sign), _limit(after, name, sign)
        if now > was:
            yield f"the field `{path}` must now be {within}, and stored events may not be".format(
                sign * now
            )
        if now < was:
            yield f"the field `{path}` may now be {beyond}, and its readers refuse that".format(
                sign * was
            )
    if "each" in before or "each" in after:
        yield from _allowed_changes(f"{path}[]", before.get("each", {}), after.get("each", {}))


def _any_of(values: Iterable[Any]) -> str:
    return " or ".join(f"`{value}`" for value in values)


def _limit(allowed: Mapping[str, Any], name: str, sign: int) -> float:
    """Return a limit times its sign, so that a larger number is narrower; no limit is -inf."""
    limit = allowed.get(name)
    return -math.inf if limit is None else sign * limit


def written(contracts: Mapping[str, Contract]) -> str:
    """Return the record as JSON, one field per line for readable diffs."""
    return "{\n" + ",\n".join(map(_entry, contracts, contracts.values())) + "\n}\n"


def _entry(key: str, contract: Contract) -> str:
    members = ",\n".join(
        f"   {json.dumps(path)}: {json.dumps(member)}"
        for path, member in contract["fields"].items()
    )
    return (
        f" {json.dumps(key)}: {{\n"
        f'  "subject": {json.dumps(contract["subject"])},\n'
        f'  "public": {json.dumps(contract["public"])},\n'
        f'  "fields": {{\n{members}\n  }}\n }}'
    )


def main(arguments: list[str] | None = None) -> int:
    """Write the record, or with `--check` compare it; return the exit code."""
    parser = argparse.ArgumentParser(description="The record of the event contracts.")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--check", action="store_true", help="only compare")
    group.add_argument("--accept-break", action="store_true", help="write in spite of breaks")
    options = parser.parse_args(arguments)

    # A new record would accept any break.
    if not FILE.exists() and not options.accept_break:
        print(
            "docs/contracts.json is missing: restore it with `git checkout docs/contracts.json`",
            file=sys.stderr,
        )
        return 1
    current = FILE.read_text(encoding="utf-8") if FILE.exists() else "{}"
    present = described()
    found = [] if options.accept_break else breaks(json.loads(current), present)
    for sentence in found:
        print(sentence, file=sys.stderr)
    if found:
        print("docs/contracts.json was not changed", file=sys.stderr)
        return 1
    if options.check and current != written(present):
        print("docs/contracts.json is out of date: run `make docs`", file=sys.stderr)
        return 1
    if not options.check:
        FILE.parent.mkdir(exist_ok=True)
        FILE.write_text(written(present), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
