"""The published language: every event can be written, read again, and reaches somebody."""

import re
from datetime import UTC, date, datetime
from types import NoneType
from typing import Any, get_type_hints
from uuid import uuid4

import pytest
from msgspec.structs import fields

from farmgate import catalogue
from farmgate.contracts import type_of
from farmgate.services import NAMES, service_of
from services.notifications.handlers.feeds import on_fact
from shared.events import BY_TYPE, EVENTS, Fact, Part
from shared.messaging.envelope import Event, decode, encode, fact_of, load_data
from shared.messaging.service import Service
from shared.messaging.topology import STREAM, topology_of
from shared.runtime.ids import new_id

SERVICES = [service_of(name) for name in NAMES]
#: Words in field names that would be contact data.
PERSONAL = re.compile(r"phone|address|^name$|email|contact|code$|signed|received_by")
#: Codes of places and goods, which are public.
NOT_PERSONAL = {"lot_code", "code", "device_code"}


def example(path: str, annotation: Any) -> Any:
    told = type_of(path, annotation)
    if told.part is not None:
        inner: Any = example_of(told.part)
    else:
        inner = {
            "uuid": uuid4(),
            "text": told.allowed.get("values", ["text"])[0],
            "integer": 7,
            "boolean": True,
            "moment": datetime(2026, 7, 1, tzinfo=UTC),
            "date": date(2026, 7, 1),
        }[told.kind.removeprefix("list of ")]
    return [inner] if told.kind.startswith("list of ") else inner


def example_of(part: type[Part]) -> dict[str, Any]:
    return {field.name: example(field.name, field.type) for field in fields(part)}


def written(contract: type[Fact]) -> bytes:
    return encode(
        fact_of(contract, example_of(contract)),
        event_id=new_id(),
        sequence=1,
        time=datetime(2026, 7, 1, tzinfo=UTC),
        correlation_id="story",
        causation_id=str(uuid4()),
        traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01",
    )


def names_in(part: type[Part]) -> list[str]:
    found = []
    for field in fields(part):
        found.append(field.name)
        inner = type_of(field.name, field.type).part
        if inner is not None:
            found += names_in(inner)
    return found


def contracts_under(base: type[Fact]) -> list[type[Fact]]:
    """Return the contracts: bases that only share fields have no routing key."""
    own = [base] if "routing_key" in vars(base) else []
    return own + [each for sub in base.__subclasses__() for each in contracts_under(sub)]


@pytest.mark.parametrize("contract", EVENTS, ids=lambda c: c.routing_key)
def test_an_event_reads_as_it_was_written(contract: type[Fact]) -> None:
    body = written(contract)

    event = load_data(decode(body), contract)

    assert event.type == contract.routing_key
    assert event.subject.endswith(str(getattr(event.data, contract.subject)))
    assert event.source.endswith(event.subject)
    assert event.data == load_data(decode(event.body), contract).data


def said_of(contract: type[Fact]) -> str:
    """Return the fact, and its version from the second on, such as `order_paid_v2`."""
    return contract.routing_key.partition(".")[2].replace(".", "_").removesuffix("_v1")


@pytest.mark.parametrize("contract", EVENTS, ids=lambda c: c.routing_key)
def test_an_event_has_a_name_a_meaning_and_a_subject_among_its_fields(
    contract: type[Fact],
) -> None:
    fact = re.sub(r"(?<!^)(?=[A-Z])", "_", contract.__name__).lower()
    publisher = contract.routing_key.partition(".")[0]
    # What each service says of itself has one fact, and a contract for each.
    fact = fact.removeprefix(f"{publisher}_")

    assert publisher in NAMES
    assert said_of(contract) == fact
    assert contract.subject in contract.__struct_fields__
    assert catalogue.meaning_of(contract).endswith(".")


def test_every_contract_is_in_the_catalogue_once() -> None:
    declared = contracts_under(Fact)

    assert sorted(BY_TYPE) == sorted(contract.routing_key for contract in declared)
    assert len(EVENTS) == len(BY_TYPE)


def test_every_event_is_bound_somewhere() -> None:
    """The broker returns an event that no queue is bound to, and the relay stops."""
    bound = frozenset[str]().union(*topology_of(SERVICES).bindings.values())

    assert {contract.routing_key for contract in EVENTS} <= bound


def test_the_stream_keeps_public_order_events_only() -> None:
    for type_ in topology_of(SERVICES).bindings[STREAM]:
        assert type_.startswith("orders.")
        assert BY_TYPE[type_].public


@pytest.mark.parametrize("contract", [c for c in EVENTS if c.public], ids=lambda c: c.routing_key)
def test_a_public_event_has_no_field_for_contact_data(contract: type[Fact]) -> None:
    personal = {name for name in names_in(contract) if PERSONAL.search(name)}

    assert personal <= NOT_PERSONAL


def test_no_service_listens_to_itself() -> None:
    for service in SERVICES:
        for contract in service.subscriptions:
            assert not contract.routing_key.startswith(f"{service.name}.")


def test_handlers_are_named_for_their_facts() -> None:
    for service in SERVICES:
        for contract, handler in service.subscriptions.items():
            # What only partners want to know has no handler of its own.
            assert handler is on_fact or handler.__name__ == f"on_{said_of(contract)}"


@pytest.mark.parametrize("service", SERVICES, ids=lambda s: s.name)
def test_a_handler_is_annotated_with_its_services_batch_and_the_event_it_is_subscribed_to(
    service: Service,
) -> None:
    for contract, handler in service.subscriptions.items():
        fact = Fact if handler is on_fact else contract
        assert get_type_hints(handler) == {
            "batch": service.batch,
            "event": Event[fact],  # type: ignore[valid-type]  # a class known at run time only
            "return": NoneType,
        }


def test_the_catalogue_page_is_current() -> None:
    assert catalogue.PAGE.read_text(encoding="utf-8") == catalogue.page()
