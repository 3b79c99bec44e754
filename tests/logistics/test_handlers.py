"""What logistics does with facts, delivered by the consumer's own code."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from services.logistics.batch import LogisticsBatch
from services.logistics.models import DeliveryAddress, Shipment, ShipmentLine, VariantReadModel
from services.logistics.rules import ShipmentState
from services.logistics.use_cases import routes, site_tree, travelling
from shared.events import (
    ContactGiven,
    OrderCancelled,
    OrderConfirmed,
    OrderRejected,
    ProductListed,
)
from shared.messaging.batch import transaction
from shared.runtime.database import Database
from shared.runtime.ids import new_id

Facts = Callable[..., dict[str, Any]]
Recorded = Callable[[], list[tuple[str, dict[str, Any]]]]


def a_contact(order_id: UUID, **changes: Any) -> dict[str, Any]:
    """The facts of a `ContactGiven`."""
    return {
        "order_id": order_id,
        "order_ref": "ORD-7KQ2M9XH",
        "buyer_id": None,
        "name": "Tashi",
        "phone": "+8613900000000",
        "address": "Bahe 7",
        "language": "bo",
    } | changes


def a_listing(product_id: UUID, variant_id: UUID, storage: str | None) -> dict[str, Any]:
    """The facts of a `ProductListed` with one variant."""
    variant = {
        "variant_id": variant_id,
        "sku": "MATSUTAKE-FRESH-1",
        "grade": "1",
        "unit": "g",
        "pack_quantity": 500,
        "storage": storage,
        "min_life_days": 1,
    }
    return {
        "product_id": product_id,
        "code": "MATSUTAKE-FRESH",
        "names": {"zh": "松茸"},
        "perishable": True,
        "variants": [variant],
    }


def the_shipment(database: Database, order_id: UUID) -> Shipment:
    with database.readers() as reader:
        return reader.scalars(select(Shipment).where(Shipment.order_id == order_id)).one()


def a_contact_is_kept(database: Database, order_id: UUID) -> bool:
    with database.readers() as reader:
        return reader.get(DeliveryAddress, order_id) is not None


def shipment_facts(recorded_events: Recorded) -> list[str]:
    return [type_.split(".")[1] for type_, _ in recorded_events() if "site_opened" not in type_]


def test_a_confirmed_order_gets_a_shipment_with_a_promised_day(
    database: Database,
    deliver: Callable[..., Any],
    recorded_events: Recorded,
    a_confirmed_order: Facts,
) -> None:
    order = a_confirmed_order()

    deliver(OrderConfirmed, **order)

    shipment = the_shipment(database, order["order_id"])
    type_, fact = recorded_events()[-1]
    assert type_ == "logistics.shipment_planned.v1"
    assert fact == {
        "shipment_id": str(shipment.id),
        "shipment_ref": shipment.shipment_ref,
        "order_id": str(order["order_id"]),
        "site_id": str(order["site_id"]),
        "promised_on": shipment.promised_on.isoformat(),
    }
    assert shipment.state == ShipmentState.PLANNED
    with database.readers() as reader:
        carried = reader.scalars(select(ShipmentLine.quantity))
        assert list(carried) == [500, 500]


def test_a_repeated_confirmation_plans_nothing_more(
    deliver: Callable[..., list[UUID]], recorded_events: Recorded, a_confirmed_order: Facts
) -> None:
    order = a_confirmed_order()
    [event_id] = deliver(OrderConfirmed, **order)

    deliver(OrderConfirmed, **order, _event_id=event_id)
    deliver(OrderConfirmed, **order)

    assert shipment_facts(recorded_events) == ["shipment_planned"]


def test_an_order_for_a_site_that_never_opened_is_parked_with_its_reason(
    deliver: Callable[..., Any], parked: Callable[[], list[Any]], a_confirmed_order: Facts
) -> None:
    deliver(OrderConfirmed, **a_confirmed_order(site_id=new_id()))

    [row] = parked()
    assert row.reason == "handler_failed"
    assert "UnknownSite" in row.error


def test_an_order_without_lines_is_planned_all_the_same(
    database: Database, deliver: Callable[..., Any], a_confirmed_order: Facts
) -> None:
    order = a_confirmed_order(lines=[])

    deliver(OrderConfirmed, **order)

    assert the_shipment(database, order["order_id"]).state == ShipmentState.PLANNED


def test_a_malformed_confirmation_is_parked_and_others_go_on(
    database: Database,
    deliver: Callable[..., Any],
    parked: Callable[[], list[Any]],
    a_confirmed_order: Facts,
) -> None:
    good = a_confirmed_order()

    deliver(OrderConfirmed, _many=[a_confirmed_order(due_fen=-1), good])

    assert [row.reason for row in parked()] == ["invalid"]
    assert the_shipment(database, good["order_id"])


def test_an_order_is_planned_also_when_its_site_closed_in_the_meantime(
    database: Database,
    deliver: Callable[..., Any],
    sites: dict[str, UUID],
    a_confirmed_order: Facts,
) -> None:
    with transaction(database, LogisticsBatch) as batch:
        site_tree.close_site(batch, sites["V"])
    order = a_confirmed_order(site_id=sites["V"])

    deliver(OrderConfirmed, **order)

    assert the_shipment(database, order["order_id"]).promised_on


def test_500_confirmations_cost_as_many_statements_as_5(
    deliver: Callable[..., Any],
    a_confirmed_order: Facts,
    count_statements: Callable[[], Any],
) -> None:
    counts = []

    for size in (5, 500):
        many = [a_confirmed_order(collect=number % 2 == 0) for number in range(size)]
        with count_statements() as statements:
            deliver(OrderConfirmed, _many=many)
        counts.append(len(statements))

    assert counts[0] == counts[1]


def test_an_orders_whole_story_may_arrive_as_one_batch(
    database: Database,
    deliver: Callable[..., Any],
    recorded_events: Recorded,
    a_confirmed_order: Facts,
) -> None:
    order = a_confirmed_order(collect=True)
    cancelled = {key: order[key] for key in ("order_id", "order_ref")} | {"reason": "changed"}

    deliver(
        ContactGiven,
        _many=[
            a_contact(order["order_id"]),
            order | {"_contract": OrderConfirmed},
            cancelled | {"_contract": OrderCancelled},
        ],
    )

    assert the_shipment(database, order["order_id"]).state == ShipmentState.CANCELLED
    assert shipment_facts(recorded_events) == ["shipment_planned", "shipment_cancelled"]
    assert not a_contact_is_kept(database, order["order_id"])


@pytest.mark.parametrize("steps", [(), (travelling.pack,)])
def test_cancelling_stops_a_shipment_that_has_not_left(
    database: Database,
    deliver: Callable[..., Any],
    recorded_events: Recorded,
    a_confirmed_order: Facts,
    steps: tuple[Any, ...],
) -> None:
    order = a_confirmed_order()
    deliver(OrderConfirmed, **order)
    shipment = the_shipment(database, order["order_id"])
    for step in steps:
        with transaction(database, LogisticsBatch) as batch:
            step(batch, shipment.id)

    deliver(OrderCancelled, order_id=order["order_id"], order_ref="ORD-1", reason="changed")

    stopped = the_shipment(database, order["order_id"])
    assert (stopped.state, stopped.ended_at is not None) == (ShipmentState.CANCELLED, True)
    assert recorded_events()[-1] == (
        "logistics.shipment_cancelled.v1",
        {"shipment_id": str(shipment.id), "order_id": str(order["order_id"])},
    )


def test_cancelling_calls_back_a_shipment_that_has_left(
    database: Database,
    deliver: Callable[..., Any],
    recorded_events: Recorded,
    a_confirmed_order: Facts,
) -> None:
    order = a_confirmed_order()
    deliver(OrderConfirmed, **order)
    shipment_id = the_shipment(database, order["order_id"]).id
    with transaction(database, LogisticsBatch) as batch:
        travelling.pack(batch, shipment_id)
    with transaction(database, LogisticsBatch) as batch:
        travelling.dispatch(batch, shipment_id)

    deliver(OrderCancelled, order_id=order["order_id"], order_ref="ORD-1", reason="changed")

    called_back = the_shipment(database, order["order_id"])
    assert called_back.state == ShipmentState.REFUSED
    assert called_back.refusal == "order_cancelled"
    assert shipment_facts(recorded_events)[-1] == "shipment_dispatched"


def test_cancelling_an_order_without_a_shipment_erases_its_contact(
    database: Database, deliver: Callable[..., Any], sites: dict[str, UUID]
) -> None:
    order_id = new_id()
    deliver(ContactGiven, **a_contact(order_id))

    deliver(OrderCancelled, order_id=order_id, order_ref="ORD-1", reason="changed")

    assert not a_contact_is_kept(database, order_id)


def test_a_rejected_orders_contact_is_erased(
    database: Database, deliver: Callable[..., Any]
) -> None:
    order_id = new_id()
    deliver(ContactGiven, **a_contact(order_id))

    deliver(OrderRejected, order_id=order_id, order_ref="ORD-1", reason="no stock", shortfalls=[])

    assert not a_contact_is_kept(database, order_id)


@pytest.mark.parametrize(("collect", "address"), [(False, "Bahe 7"), (True, None)])
def test_an_address_is_kept_only_for_what_is_brought_there(
    database: Database,
    deliver: Callable[..., Any],
    a_confirmed_order: Facts,
    collect: bool,
    address: str | None,
) -> None:
    order = a_confirmed_order(collect=collect)
    deliver(ContactGiven, **a_contact(order["order_id"]))

    deliver(OrderConfirmed, **order)

    with database.readers() as reader:
        contact = reader.get_one(DeliveryAddress, order["order_id"])
        assert (contact.name, contact.address) == ("Tashi", address)


def test_an_address_given_just_before_the_confirmation_is_not_kept_either(
    database: Database, deliver: Callable[..., Any], a_confirmed_order: Facts
) -> None:
    order = a_confirmed_order(collect=True)

    deliver(
        ContactGiven, _many=[a_contact(order["order_id"]), order | {"_contract": OrderConfirmed}]
    )

    with database.readers() as reader:
        assert reader.get_one(DeliveryAddress, order["order_id"]).address is None


def test_a_later_contact_replaces_an_earlier_one(
    database: Database, deliver: Callable[..., Any]
) -> None:
    order_id = new_id()
    deliver(ContactGiven, **a_contact(order_id))

    changed = [a_contact(order_id, name="Dolma"), a_contact(order_id, name="Pema")]
    deliver(ContactGiven, _many=changed)

    with database.readers() as reader:
        assert reader.get_one(DeliveryAddress, order_id).name == "Pema"


def test_contacts_of_a_batch_cost_a_constant_number_of_statements(
    deliver: Callable[..., Any], count_statements: Callable[[], Any]
) -> None:
    counts = []

    for size in (3, 300):
        contacts = [a_contact(new_id()) for _ in range(size)]
        rejected = {"order_ref": "ORD-1", "reason": "no stock", "shortfalls": []}
        with count_statements() as statements:
            deliver(ContactGiven, _many=contacts)
            deliver(
                OrderRejected,
                _many=[{"order_id": each["order_id"]} | rejected for each in contacts],
            )
        counts.append(len(statements))

    assert counts[0] == counts[1]


def test_goods_that_must_stay_cold_are_marked_when_their_way_is_not(
    database: Database, deliver: Callable[..., Any], a_confirmed_order: Facts
) -> None:
    order = a_confirmed_order()
    variant_id = order["lines"][0]["variant_id"]
    deliver(ProductListed, **a_listing(new_id(), variant_id, "0-4 C"))

    deliver(OrderConfirmed, **order)

    shipment = the_shipment(database, order["order_id"])
    assert (shipment.cold, shipment.cold_gap) == (True, True)


def test_goods_travel_cold_where_every_leg_is(
    database: Database,
    deliver: Callable[..., Any],
    a_confirmed_order: Facts,
) -> None:
    order = a_confirmed_order()
    deliver(ProductListed, **a_listing(new_id(), order["lines"][0]["variant_id"], "-18 C"))
    with transaction(database, LogisticsBatch) as batch:
        routes.open_route(batch, "C", "K", 6, [1, 3, 5], True)
        routes.open_route(batch, "K", "T", 3, [2, 4, 6], True)

    deliver(OrderConfirmed, **order)

    shipment = the_shipment(database, order["order_id"])
    assert (shipment.cold, shipment.cold_gap) == (True, False)
    assert shipment.promised_on.isoweekday() in (2, 4, 6)


def test_an_older_listing_does_not_undo_a_newer_one(
    database: Database, deliver: Callable[..., Any]
) -> None:
    product_id, variant_id = new_id(), new_id()
    deliver(ProductListed, **a_listing(product_id, variant_id, "-18 C"), _sequence=5)

    deliver(ProductListed, **a_listing(product_id, variant_id, None), _sequence=4)

    with database.readers() as reader:
        assert reader.get_one(VariantReadModel, variant_id).storage == "-18 C"


def test_a_batch_with_one_bad_order_plans_all_the_others(
    database: Database,
    deliver: Callable[..., Any],
    parked: Callable[[], list[Any]],
    a_confirmed_order: Facts,
) -> None:
    orders = [a_confirmed_order() for _ in range(4)]
    orders[2]["site_id"] = new_id()

    deliver(OrderConfirmed, _many=orders)

    assert len(parked()) == 1
    with database.readers() as reader:
        assert reader.scalar(select(func.count()).select_from(Shipment)) == 3
