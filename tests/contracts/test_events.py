"""The published language: every event can be written, read again, and reaches somebody."""

import re
from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

import pytest
from marshmallow import Schema, fields

from farmgate import catalogue
from farmgate.services import NAMES, service_of
from shared.events import BY_TYPE, EVENTS, Event
from shared.messaging.envelope import decode, encode, load_data
from shared.messaging.topology import STREAM, topology_of
from shared.runtime.ids import new_id

SERVICES = [service_of(name) for name in NAMES]
#: Words in field names that would be contact data.
PERSONAL = re.compile(r"phone|address|^name$|email|contact|code$|signed|received_by")
#: Codes of places and goods, which are public.
NOT_PERSONAL = {"lot_code", "code", "device_code"}


def example(field: fields.Field) -> Any:
    if isinstance(field, fields.Nested):
        return {name: example(inner) for name, inner in field.schema.fields.items()}
    if isinstance(field, fields.List):
        return [example(field.inner)]
    choices = getattr(field.validate, "choices", None)
    if choices:
        return choices[0]
    return {
        "UUID": uuid4(),
        "String": "text",
        "Integer": 7,
        "Boolean": True,
        "AwareDateTime": datetime(2026, 7, 1, tzinfo=UTC),
        "Date": date(2026, 7, 1),
    }[type(field).__name__]


def written(contract: type[Event]) -> bytes:
    return encode(
        contract,
        {name: example(field) for name, field in contract().fields.items()},
        event_id=new_id(),
        sequence=1,
        time=datetime(2026, 7, 1, tzinfo=UTC),
        correlation_id="story",
        causation_id=str(uuid4()),
        traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01",
    )


def names_in(schema: Schema) -> list[str]:
    found = []
    for name, field in schema.fields.items():
        found.append(name)
        inner = field.inner if isinstance(field, fields.List) else field
        if isinstance(inner, fields.Nested):
            found += names_in(inner.schema)
    return found


@pytest.mark.parametrize("contract", EVENTS, ids=lambda c: c.routing_key)
def test_an_event_reads_as_it_was_written(contract: type[Event]) -> None:
    body = written(contract)

    event = load_data(decode(body), contract)

    assert event.type == contract.routing_key
    assert event.subject.endswith(str(event.data[contract.subject]))
    assert event.source.endswith(event.subject)
    assert contract().dump(event.data) == contract().dump(
        load_data(decode(event.body), contract).data
    )


def said_of(contract: type[Event]) -> str:
    """Return the fact, and its version from the second on, such as `order_paid_v2`."""
    return contract.routing_key.partition(".")[2].replace(".", "_").removesuffix("_v1")


@pytest.mark.parametrize("contract", EVENTS, ids=lambda c: c.routing_key)
def test_an_event_has_a_name_a_meaning_and_a_subject_among_its_fields(
    contract: type[Event],
) -> None:
    fact = re.sub(r"(?<!^)(?=[A-Z])", "_", contract.__name__).lower()
    publisher = contract.routing_key.partition(".")[0]
    # What each service says of itself has one fact, and a contract for each.
    fact = fact.removeprefix(f"{publisher}_")

    assert publisher in NAMES
    assert said_of(contract) == fact
    assert contract.subject in contract().fields
    assert catalogue.meaning_of(contract).endswith(".")


def test_every_contract_is_in_the_catalogue_once() -> None:
    declared = [thing for thing in Event.__subclasses__()]

    assert sorted(BY_TYPE) == sorted(contract.routing_key for contract in declared)
    assert len(EVENTS) == len(BY_TYPE)


def test_every_event_is_bound_somewhere_or_is_feed_only() -> None:
    bound = frozenset[str]().union(*topology_of(SERVICES).bindings.values())

    unheard = {contract.routing_key for contract in EVENTS} - bound
    assert unheard == {contract.routing_key for contract in EVENTS if contract.feed_only}


def test_the_stream_keeps_public_order_events_only() -> None:
    for type_ in topology_of(SERVICES).bindings[STREAM]:
        assert type_.startswith("orders.")
        assert BY_TYPE[type_].public


@pytest.mark.parametrize("contract", [c for c in EVENTS if c.public], ids=lambda c: c.routing_key)
def test_a_public_event_has_no_field_for_contact_data(contract: type[Event]) -> None:
    personal = {name for name in names_in(contract()) if PERSONAL.search(name)}

    assert personal <= NOT_PERSONAL


def test_no_service_listens_to_itself() -> None:
    for service in SERVICES:
        for contract in service.subscriptions:
            assert not contract.routing_key.startswith(f"{service.name}.")


def test_handlers_are_named_for_their_facts() -> None:
    for service in SERVICES:
        for contract, handler in service.subscriptions.items():
            assert handler.__name__.startswith("on_")
            assert handler.__name__ == f"on_{said_of(contract)}"


def test_the_catalogue_page_is_current() -> None:
    assert catalogue.PAGE.read_text(encoding="utf-8") == catalogue.page()
