"""Write the event catalogue and the AsyncAPI document from the contracts.

`python -m farmgate.catalogue` writes `docs/events.md` and `shared/events/asyncapi.json`; with
`--check` it only compares, and exits 1 if one of them is out of date.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from farmgate.asyncapi import document
from farmgate.contracts import described, written
from farmgate.services import NAMES, service_of
from shared.events import EVENTS, Fact
from shared.events.description import ASYNCAPI, ENVELOPE, EXAMPLES, Schema, example, read_field

PAGE = Path(__file__).parent.parent / "docs" / "events.md"

HEAD = """# Events

Written by `make docs` from [shared/events](../shared/events) and the services' own
`SUBSCRIPTIONS`; do not edit. *Internal* events carry contact data and reach no integrator.

The same contracts as JSON Schema 2020-12: [shared/events/schemas](../shared/events/schemas), served
at `/api/events/v1/schemas/<type>`; as one AsyncAPI 3 document:
[shared/events/asyncapi.json](../shared/events/asyncapi.json), served at
`/api/events/v1/asyncapi.json`. `/api/events/docs` shows them in a browser.

A partner's system reads its events over HTTP (`GET /api/events/v1/events`) or from a queue of its
own: [deployment](deployment.md), "Integrators", and
[examples/subscriber](../examples/subscriber/README.md).

## Rules

- An event may come again: drop repeats by `id`. The events of one subject take effect in the order
  of their `sequence`.
- The type ends with the contract's major version. Within it, fields are only ever added, and then
  optional. Ignore fields and types that you do not know.
- **Units.** Money is whole fen (1/100 CNY). Quantities are whole grams or pieces, by the variant's
  `unit`. Moments are RFC 3339 in UTC, dates are calendar dates in Asia/Shanghai, ids are UUIDs.
- No public event contains the name, telephone number or address of a person.
- `dataschema` names the schema of `data`: `urn:farmgate:events:<type>`, the schema's `$id`. It is a
  name and no address, so it is the same on every host and in every backup.

## The envelope

"""


def listeners_of(contract: type[Fact]) -> list[str]:
    """Return the names of the services that listen to an event."""
    return [name for name in NAMES if contract in service_of(name).subscriptions]


def meaning_of(contract: type[Fact]) -> str:
    """Return the first sentence of the event's docstring."""
    return (contract.__doc__ or "").strip().partition("\n\n")[0].replace("\n    ", " ")


def page() -> str:
    """Return the whole page."""
    schemas = described()
    lines = [HEAD, *_fields(schemas[ENVELOPE])]
    lines += ["\n## All events\n\n| event | meaning | listeners |\n|---|---|---|\n"]
    for contract in EVENTS:
        marks = [] if contract.public else ["*internal*"]
        who = ", ".join([*listeners_of(contract), *marks])
        link = f"[`{contract.routing_key}`](#{_anchor(contract)})"
        lines.append(f"| {link} | {meaning_of(contract)} | {who} |\n")
    for contract in EVENTS:
        schema = schemas[contract.routing_key]
        subject = f"{contract.subject.removesuffix('_id')}/<{contract.subject}>"
        lines.append(f"\n## {contract.routing_key}\n\n{schema['description']}\n\n")
        lines += [f"Subject: `{subject}`.\n\n", *_fields(schema), *_example(contract)]
    return "".join(lines)


def _fields(schema: Schema) -> Iterator[str]:
    for path, required, field in read_field(schema).rows():
        optional = "" if required else ", optional"
        meaning = f". {field.description}" if field.description else ""
        yield f"- `{path}`: {field}{optional}{meaning}\n"


def _example(contract: type[Fact]) -> Iterator[str]:
    if contract.public and (EXAMPLES / f"{contract.routing_key}.json").exists():
        text = json.dumps(example(contract.routing_key), ensure_ascii=False, indent=1)
        yield f"\n```json\n{text}\n```\n"


def _anchor(contract: type[Fact]) -> str:
    return contract.routing_key.replace(".", "")


def texts() -> dict[Path, str]:
    """Return what the generated files must contain."""
    return {PAGE: page(), ASYNCAPI: written(document(described()))}


def main() -> int:
    """Write page and document, or with `--check` compare them."""
    late = []
    for path, text in texts().items():
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            late.append(f"{path.name} is out of date: run `make docs`")
    for sentence in late:
        print(sentence, file=sys.stderr)
    return 1 if late else 0


if __name__ == "__main__":
    raise SystemExit(main())
