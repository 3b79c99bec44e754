"""The published language: every event has a name, a meaning and a reader."""

import re
from types import NoneType
from typing import get_type_hints

import pytest

from farmgate import catalogue
from farmgate.services import NAMES, service_of
from services.notifications.handlers.feeds import on_fact
from shared.events import BY_TYPE, EVENTS, Fact
from shared.events.description import read_field, schema
from shared.messaging.envelope import Event
from shared.messaging.service import Service
from shared.messaging.topology import topology_of

SERVICES = [service_of(name) for name in NAMES]
#: Words in field names that would be contact data.
PERSONAL = re.compile(r"phone|address|^name$|email|contact|code$|signed|received_by")
#: Codes of places and goods, which are public.
NOT_PERSONAL = {"lot_code", "code", "device_code"}


def contracts_under(base: type[Fact]) -> list[type[Fact]]:
    """Return the contracts: bases that only share fields have no routing key."""
    own = [base] if "routing_key" in vars(base) else []
    return own + [each for sub in base.__subclasses__() for each in contracts_under(sub)]


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


@pytest.mark.parametrize("contract", [c for c in EVENTS if c.public], ids=lambda c: c.routing_key)
def test_a_public_event_has_no_field_for_contact_data(contract: type[Fact]) -> None:
    paths = [path for path, _, _ in read_field(schema(contract.routing_key)).rows()]
    personal = {name for path in paths if PERSONAL.search(name := path.rpartition(".")[2])}

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


def test_page_and_document_are_current() -> None:
    for path, text in catalogue.texts().items():
        assert path.read_text(encoding="utf-8") == text, "run `make docs`"
