"""The contracts as integrators read them: they say what the code accepts, and hide nobody's data.

`asyncapi-3.0.0.json.gz` is the official JSON Schema of AsyncAPI 3.0.0 (asyncapi/spec-json-schemas,
Apache License 2.0).
"""

import gzip
import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft7Validator, Draft202012Validator

from farmgate.contracts import described
from services.notifications.rules.feed import FEED_TYPES
from shared.events import BY_TYPE
from shared.events.description import (
    ASYNCAPI,
    ENVELOPE,
    EXAMPLES,
    PUBLIC,
    example,
    read_field,
    read_json,
    schema,
)
from shared.messaging.envelope import Invalid, decode, load_data

OFFICIAL = json.loads(
    gzip.decompress((Path(__file__).parent / "asyncapi-3.0.0.json.gz").read_bytes())
)
SCHEMAS = described()


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(dict(SCHEMAS[name]), validate_formats=True)


def is_read(type_: str, document: Any) -> bool:
    """Tell whether a service takes an event."""
    try:
        load_data(decode(json.dumps(document)), BY_TYPE[type_])
    except Invalid:
        return False
    return True


def places_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each value in JSON, of a list's only for the first member."""
    inner = value.items() if isinstance(value, dict) else []
    if isinstance(value, list):
        inner = list(enumerate(value))[:1]
    for key, each in inner:
        yield (*path, key)
        yield from places_in(each, (*path, key))


def changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return JSON with another value at a path; without it if the value is Ellipsis."""
    found = deepcopy(document)
    at = found
    for key in path[:-1]:
        at = at[key]
    if value is ...:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return found


def test_each_public_type_has_an_example_and_no_internal_one_has() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.json")} == set(PUBLIC)


def test_examples_show_each_optional_field_once_at_least() -> None:
    optional, shown = set(), set()
    for type_ in PUBLIC:
        rows = read_field(schema(type_)).rows()
        optional |= {path.rpartition(".")[2] for path, required, _ in rows if not required}
        shown |= {path[-1] for path in places_in(example(type_)["data"])}

    assert optional <= shown, "run `python -m tests.support.published`"


@pytest.mark.parametrize("type_", PUBLIC)
def test_an_example_fits_the_envelope_and_its_schema(type_: str) -> None:
    event = example(type_)

    validator(ENVELOPE).validate(event)
    validator(type_).validate(event["data"])
    assert event["dataschema"] == schema(type_)["$id"]


@pytest.mark.parametrize("type_", PUBLIC)
def test_a_schema_takes_what_the_code_takes_and_refuses_what_it_refuses(type_: str) -> None:
    event, check = example(type_), validator(type_)
    other = [..., None, "x", "2026-11-30", 1, 0, -1, True, [], {}]

    for path in places_in(event["data"]):
        for value in other:
            if value is ... and isinstance(path[-1], int):
                continue
            data = changed(event["data"], path, value)
            said = f"{path} = {value}"
            assert check.is_valid(data) == is_read(type_, event | {"data": data}), said


def test_the_asyncapi_document_fits_the_official_schema() -> None:
    Draft7Validator(OFFICIAL).validate(read_json(ASYNCAPI))


def test_the_asyncapi_document_describes_all_public_events_and_no_internal_one() -> None:
    document = read_json(ASYNCAPI)

    assert list(document["components"]["messages"]) == [*PUBLIC, "feedEntry"]
    for type_ in BY_TYPE.keys() - set(PUBLIC):
        assert type_ not in ASYNCAPI.read_text("utf-8")
    for channel in document["channels"].values():
        for name, reference in channel["messages"].items():
            assert reference == {"$ref": f"#/components/messages/{name}"}
            assert name in document["components"]["messages"]


@pytest.mark.parametrize("type_", sorted(FEED_TYPES))
def test_the_feeds_entry_takes_an_event_and_nothing_else(type_: str) -> None:
    components = read_json(ASYNCAPI)["components"]
    payload = components["messages"]["feedEntry"]["payload"]
    check = Draft202012Validator(payload | {"components": components}, validate_formats=True)
    entry = {"position": 1, "cursor": "1.1", "event": example(type_)}

    check.validate(entry)
    for wrong in ({"position": "1"}, {"event": dict(example(type_)) | {"data": {}}}):
        assert not check.is_valid(entry | wrong)


@pytest.mark.parametrize("type_", PUBLIC)
def test_a_message_of_the_asyncapi_document_takes_its_event_and_no_other(type_: str) -> None:
    document = read_json(ASYNCAPI)
    payload = document["components"]["messages"][type_]["payload"]
    check = Draft202012Validator(
        payload | {"components": document["components"]}, validate_formats=True
    )

    check.validate(example(type_))
    check.validate(dict(example(type_)) | {"added_later": 1})
    assert not check.is_valid(dict(example(type_)) | {"type": "orders.order_noted.v1"})
    assert not check.is_valid(dict(example(type_)) | {"data": {}})
