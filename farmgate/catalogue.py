"""Print the event catalogue from the contracts and the four `SUBSCRIPTIONS`.

`python -m farmgate.catalogue` writes `docs/events.md`; with `--check` it only compares, and
exits 1 if the page is out of date.
"""

import sys
from pathlib import Path

import msgspec

from farmgate.contracts import type_of
from farmgate.services import NAMES, service_of
from shared.events import EVENTS, Fact, Part

PAGE = Path(__file__).parent.parent / "docs" / "events.md"

HEAD = """# Events

Written by `make docs` from [shared/events](../shared/events) and the services' own
`SUBSCRIPTIONS`; do not edit. The type is the routing key: `<publisher>.<fact>.v<major>`. Events
of one subject take effect in the order of their `sequence`. *Internal* events carry contact data
and cannot be bound by integrators. Fields are only ever added, and then optional.

A partner's system gets those of `orders` from a queue of its own: [deployment](deployment.md),
"Integrators", and [examples/subscriber](../examples/subscriber/README.md).

"""


def listeners_of(contract: type[Fact]) -> list[str]:
    """Return the names of the services that listen to an event."""
    return [name for name in NAMES if contract in service_of(name).subscriptions]


def meaning_of(contract: type[Fact]) -> str:
    """Return the first sentence of the event's docstring."""
    return (contract.__doc__ or "").strip().partition("\n\n")[0].replace("\n    ", " ")


#: The page's names of types that differ from the record's.
WORDS = {"boolean": "true or false", "moment": "moment (UTC)"}


def _kind(field: msgspec.structs.FieldInfo) -> str:
    type_ = type_of(field.name, field.type)
    kind = WORDS.get(type_.kind, type_.kind)
    if type_.part is not None:
        kind = kind.replace("object", f"{{{_members(type_.part)}}}")
    return f"{kind} or null" if type_.nullable else kind


def _members(part: type[Part]) -> str:
    return ", ".join(
        f"`{field.name}`{'' if field.required else '?'}: {_kind(field)}"
        for field in msgspec.structs.fields(part)
    )


def page() -> str:
    """Return the whole page."""
    lines = [HEAD, "| event | meaning | listeners |\n|---|---|---|\n"]
    for contract in EVENTS:
        marks = [] if contract.public else ["*internal*"]
        who = ", ".join([*listeners_of(contract), *marks])
        link = f"[`{contract.routing_key}`](#{_anchor(contract)})"
        lines.append(f"| {link} | {meaning_of(contract)} | {who} |\n")
    for contract in EVENTS:
        lines.append(f"\n## {contract.routing_key}\n\n{meaning_of(contract)}\n\n")
        lines.append(f"Subject: `{contract.subject.removesuffix('_id')}/<{contract.subject}>`.\n\n")
        for field in msgspec.structs.fields(contract):
            optional = "" if field.required else ", optional"
            lines.append(f"- `{field.name}`: {_kind(field)}{optional}\n")
    return "".join(lines)


def _anchor(contract: type[Fact]) -> str:
    return contract.routing_key.replace(".", "")


def main() -> int:
    """Write the page, or with `--check` compare it."""
    if "--check" in sys.argv:
        current = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
        if current != page():
            print("docs/events.md is out of date: run `make docs`", file=sys.stderr)
            return 1
        return 0
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
