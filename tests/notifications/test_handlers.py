"""Facts reach notifications: who is told what, once, whatever the order of arrival."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from sqlalchemy import delete, select

from services.notifications.models import Contact, OrderReadModel, SiteReadModel, VariantReadModel
from services.notifications.rules.messages import TEMPLATES
from shared.events import (
    BY_TYPE,
    ApprovalRequested,
    CollectionCodeIssued,
    ContactGiven,
    DeliveryFailed,
    EnterpriseContactGiven,
    Fact,
    OrderCancelled,
    OrderCompleted,
    OrderConfirmed,
    OrderExpired,
    OrderPaid,
    OrderPlaced,
    OrderRejected,
    OrderReturned,
    PaymentFailed,
    PaymentRefunded,
    PaymentRequested,
    ShipmentArrived,
    ShipmentCollected,
    ShipmentDelivered,
    ShipmentDispatched,
    ShipmentRecalled,
    ShipmentReturned,
)
from shared.messaging.service import Service
from shared.messaging.tables import Inbox
from shared.runtime.database import Database
from shared.runtime.ids import new_id
from tests.notifications.conftest import NOON


def told(messages: Callable[..., list[Any]]) -> list[tuple[str, str]]:
    """Return who is told what, in order: (template, recipient's kind)."""
    return [(each.template, each.recipient.partition(":")[0]) for each in messages()]


def test_a_placed_order_is_in_the_buyers_inbox_at_once(placed, messages):
    message = messages()[0]

    assert told(messages) == [("order_placed", "order")]
    assert (message.person, message.status, message.due_at) == ("buyer:dolma", "sent", None)


def test_a_guest_is_a_person_by_the_order(deliver, order, messages):
    deliver(OrderPlaced, **order.placed(buyer_id=None))

    assert messages()[0].person == f"order:{order.order_id}"


def test_who_waits_for_approval_is_told_so_and_how_it_ended(deliver, order, messages, send, at):
    at(NOON)
    deliver(ContactGiven, **order.contact(language="en"))
    deliver(ApprovalRequested, **order.placed(), reason="open_value")
    deliver(OrderRejected, **order.ref(reason="not_approved", shortfalls=[]))

    send()

    assert told(messages) == [("approval_requested", "order"), ("order_declined", "order")]
    assert {(m.person, m.status) for m in messages()} == {("buyer:dolma", "sent")}


def test_an_approved_order_goes_on_like_any_other(deliver, order, messages):
    deliver(ApprovalRequested, **order.placed(), reason="open_value")
    deliver(OrderPlaced, **order.placed())
    deliver(OrderConfirmed, **order.confirmed())

    assert told(messages)[:3] == [
        ("approval_requested", "order"),
        ("order_placed", "order"),
        ("order_confirmed", "order"),
    ]


def test_a_confirmed_order_is_told_to_the_buyer_and_to_each_producer_once(
    deliver, placed, messages
):
    other = placed.confirmed()
    stranger = new_id()
    other["lines"][0]["lots"][1]["producer_id"] = stranger

    deliver(OrderConfirmed, **other)

    sold = messages("goods_sold")
    assert len(messages("order_confirmed")) == 1
    assert {m.recipient: m.facts["lines"] for m in sold} == {
        f"enterprise:{placed.producer_id}": [[str(placed.variant_id), 1000]],
        f"enterprise:{stranger}": [[str(placed.variant_id), 500]],
    }


CASES: list[tuple[type[Fact], dict[str, Any], list[tuple[str, str]]]] = [
    (
        OrderRejected,
        {"reason": "lot_recalled", "shortfalls": []},
        [("order_rejected", "order"), ("sale_cancelled", "enterprise")],
    ),
    (
        OrderRejected,
        {"reason": "not_approved", "shortfalls": []},
        [("order_declined", "order")],
    ),
    (OrderRejected, {"reason": "withdrawn", "shortfalls": []}, [("order_declined", "order")]),
    (OrderExpired, {}, [("order_expired", "order")]),
    (
        OrderCancelled,
        {"reason": "changed my mind"},
        [("order_cancelled", "order"), ("sale_cancelled", "enterprise")],
    ),
    (OrderPaid, {"amount_fen": 204000, "method": "prepaid"}, [("order_paid", "order")]),
    (OrderPaid, {"amount_fen": 204000, "method": "cash_on_delivery"}, []),
    (
        PaymentRequested,
        {"amount_fen": 204000, "expires_at": NOON},
        [("payment_requested", "order")],
    ),
    (PaymentFailed, {"reason": "declined"}, [("payment_failed", "order")]),
    (PaymentRefunded, {"amount_fen": 5, "cause": "late"}, [("payment_refunded", "order")]),
    (OrderReturned, {}, [("order_returned", "order")]),
    (OrderCompleted, {"total_fen": 204000}, [("sale_completed", "enterprise")]),
]


@pytest.mark.parametrize(("contract", "facts", "expected"), CASES)
def test_each_fact_of_orders_tells_those_concerned(
    deliver, confirmed, messages, contract, facts, expected
):
    before = len(messages())

    deliver(contract, **confirmed.ref(**facts))

    assert told(messages)[before:] == expected


SHIPMENT_CASES: list[tuple[type[Fact], dict[str, Any], list[tuple[str, str]]]] = [
    (ShipmentDispatched, {"shipment_ref": "S-1", "lines": []}, [("shipment_dispatched", "order")]),
    (
        ShipmentArrived,
        {"site_id": new_id(), "final": True, "collect": False},
        [("shipment_arrived", "order")],
    ),
    (ShipmentArrived, {"site_id": new_id(), "final": False, "collect": False}, []),
    (ShipmentArrived, {"site_id": new_id(), "final": True, "collect": True}, []),
    (
        CollectionCodeIssued,
        {"site_id": new_id(), "code": "123456"},
        [("collection_code", "order")],
    ),
    (ShipmentDelivered, {"collected_fen": 204000}, [("shipment_delivered", "order")]),
    (ShipmentCollected, {"collected_fen": 204000}, [("shipment_collected", "order")]),
    (DeliveryFailed, {"reason": "nobody home"}, [("delivery_failed", "order")]),
    (DeliveryFailed, {"reason": "lot_recalled"}, [("parcel_recalled", "order")]),
    (ShipmentRecalled, {"where": "with_buyer", "lots": []}, [("goods_recalled", "order")]),
    # Facts that follow say what becomes of the order.
    (ShipmentRecalled, {"where": "here", "lots": []}, []),
    (ShipmentRecalled, {"where": "on_its_way", "lots": []}, []),
]


@pytest.mark.parametrize(("contract", "facts", "expected"), SHIPMENT_CASES)
def test_each_fact_of_logistics_tells_those_concerned(
    deliver, confirmed, messages, contract, facts, expected
):
    before = len(messages())

    deliver(contract, **confirmed.shipment(**facts))

    assert told(messages)[before:] == expected


def test_an_order_confirmed_again_is_news_for_those_producers_only_whose_share_changed(
    deliver, placed, messages
):
    """The buyer gets the same goods, and was told that the order stands."""
    other, stranger = new_id(), new_id()
    first = placed.confirmed()
    first["lines"][0]["lots"][1]["producer_id"] = other
    again = placed.confirmed()
    again["lines"][0]["lots"][1]["producer_id"] = stranger
    deliver(OrderConfirmed, **first)
    before = len(messages())

    deliver(OrderConfirmed, **again)

    new = {(each.template, each.recipient): each.facts["lines"] for each in messages()[before:]}
    assert new == {
        ("goods_sold", f"enterprise:{stranger}"): [[str(placed.variant_id), 500]],
        ("sale_replaced", f"enterprise:{other}"): [[str(placed.variant_id), 500]],
    }
    deliver(OrderCompleted, **placed.ref(total_fen=204000))
    assert {each.recipient for each in messages("sale_completed")} == {
        f"enterprise:{placed.producer_id}",
        f"enterprise:{stranger}",
    }


@pytest.mark.parametrize(
    ("reason", "words"), [("out_of_stock", "库存不足"), ("lot_recalled", "已被召回，没有其他批次")]
)
def test_a_rejected_buyer_is_told_whether_the_goods_were_short_or_recalled(
    client, token, deliver, placed, reason, words
):
    deliver(OrderRejected, **placed.ref(reason=reason, shortfalls=[]))

    inbox = client.get(
        "/api/notifications/v1/inbox", headers=token("messages:read", subject="dolma")
    )

    assert words in inbox.json["items"][0]["body"]


def test_a_buyer_who_has_recalled_goods_is_warned_of_the_lot_at_any_hour(
    client, token, deliver, confirmed, messages
):
    deliver(OrderCompleted, **confirmed.ref(total_fen=204000))
    (taken,) = confirmed.taken()
    lots = [lot | {"lot_code": f"L-{3 - number}"} for number, lot in enumerate(taken["lots"], 1)]

    deliver(ShipmentRecalled, **confirmed.shipment(where="with_buyer", lots=lots))

    (message,) = messages("goods_recalled")
    assert (message.facts["lots"], TEMPLATES[message.template].urgent) == (["L-1", "L-2"], True)
    inbox = client.get(
        "/api/notifications/v1/inbox", headers=token("messages:read", subject="dolma")
    )
    assert "批次 L-1, L-2 的货物已被召回。请勿食用" in inbox.json["items"][0]["body"]


def test_a_contact_is_kept_longer_when_its_buyer_must_be_warned(deliver, database, confirmed):
    def unused_since():
        with database.readers() as reader:
            return reader.get_one(OrderReadModel, confirmed.order_id).contact_unused_since

    deliver(OrderCompleted, **confirmed.ref(total_fen=204000))
    before = unused_since()

    deliver(ShipmentRecalled, **confirmed.shipment(where="with_buyer", lots=[]))

    assert unused_since() > before


def test_producers_learn_what_came_back(deliver, confirmed, messages):
    facts = confirmed.shipment(restock=True, lines=confirmed.taken())

    deliver(ShipmentReturned, **facts)

    returned = messages("goods_returned")
    assert [m.recipient for m in returned] == [f"enterprise:{confirmed.producer_id}"]
    assert returned[0].facts == {"lines": [[str(confirmed.variant_id), 1500]]}


def test_an_order_that_was_never_confirmed_is_cancelled_without_telling_producers(
    deliver, placed, messages
):
    deliver(OrderCancelled, **placed.ref(reason="mistake"))

    assert told(messages) == [("order_placed", "order"), ("order_cancelled", "order")]


def test_an_event_delivered_again_tells_nobody_twice(deliver, placed, messages):
    facts = placed.confirmed()
    (event_id,) = deliver(OrderConfirmed, **facts)

    deliver(OrderConfirmed, _event_id=event_id, **facts)

    assert len(messages("order_confirmed")) == len(messages("goods_sold")) == 1


def test_an_event_handled_again_after_its_inbox_row_is_gone_tells_nobody_twice(
    deliver, database, placed, messages
):
    facts = placed.confirmed()
    (event_id,) = deliver(OrderConfirmed, **facts)
    with database.sessions.begin() as session:
        session.execute(delete(Inbox))

    deliver(OrderConfirmed, _event_id=event_id, **facts)

    assert len(messages("order_confirmed")) == len(messages("goods_sold")) == 1


def test_facts_of_logistics_may_come_before_those_of_orders(
    deliver, order, messages, send, message_file
):
    deliver(ShipmentDispatched, **order.shipment(shipment_ref="S-1", lines=[]))
    send()
    waiting = messages()[0]

    deliver(ContactGiven, **order.contact())
    deliver(OrderPlaced, **order.placed())

    assert (waiting.status, waiting.reason, waiting.person) == ("queued", "incomplete", None)
    assert waiting.due_at is not None


def test_the_newest_contact_counts(deliver, database, order):
    deliver(ContactGiven, **order.contact())
    deliver(ContactGiven, **order.contact(phone="+8613889049999", language="bo"))

    with database.readers() as reader:
        contact = reader.scalars(
            select(Contact).where(Contact.key == f"order:{order.order_id}")
        ).one()
    assert (contact.phone, contact.language) == ("+8613889049999", "bo")


def test_names_and_addresses_of_people_are_kept_nowhere(database: Database, confirmed) -> None:
    with database.readers() as reader:
        rows = [
            {k: str(v) for k, v in vars(row).items() if not k.startswith("_")}
            for model in (Contact, OrderReadModel)
            for row in reader.scalars(select(model))
        ]

    text = json.dumps(rows, ensure_ascii=False)
    assert "卓玛" not in text and "1 号" not in text


def test_products_and_sites_are_renamed_by_their_newest_fact(deliver, database, order, known_place):
    known_place(order)

    with database.readers() as reader:
        assert reader.get_one(VariantReadModel, order.variant_id).names["en"] == "Matsutake, fresh"
        assert reader.get_one(SiteReadModel, order.site_id).names["zh"] == "巴河镇"


def test_a_malformed_event_is_parked_and_holds_up_nobody_else(deliver, order, parked, messages):
    broken = order.placed() | {"total_fen": -1}

    deliver(OrderPlaced, _many=[broken, {**order.placed(), "order_id": new_id()}])

    assert [each.reason for each in parked()] == ["invalid"]
    assert len(messages()) == 1


def test_every_template_belongs_to_a_fact_that_is_listened_to(service: Service) -> None:
    facts = {BY_TYPE[template.fact] for template in TEMPLATES.values()}

    assert facts <= service.subscriptions.keys()


def test_the_number_of_statements_does_not_grow_with_the_batch(
    deliver: Callable[..., Any],
    an_order: Callable[[], Any],
    count_statements: Callable[[], AbstractContextManager[list[str]]],
    messages: Callable[..., list[Any]],
) -> None:
    def life(many: int) -> int:
        orders = [an_order() for _ in range(many)]
        with count_statements() as statements:
            deliver(ContactGiven, _many=[o.contact() for o in orders])
            deliver(OrderPlaced, _many=[o.placed(payment_method="prepaid") for o in orders])
            requested = {"amount_fen": 204000, "expires_at": NOON}
            deliver(PaymentRequested, _many=[o.ref(**requested) for o in orders])
            paid = {"amount_fen": 204000, "method": "prepaid"}
            deliver(OrderPaid, _many=[o.ref(**paid) for o in orders])
            deliver(OrderConfirmed, _many=[o.confirmed() for o in orders])
            dispatched = {"shipment_ref": "S-1", "lines": []}
            deliver(ShipmentDispatched, _many=[o.shipment(**dispatched) for o in orders])
            collected = {"collected_fen": 0, "proof": "code"}
            deliver(ShipmentCollected, _many=[o.shipment(**collected) for o in orders])
            deliver(OrderCancelled, _many=[o.ref(reason="late") for o in orders])
            enterprises = [
                {
                    "enterprise_id": o.producer_id,
                    "name": "x",
                    "phone": None,
                    "language": "zh",
                }
                for o in orders
            ]
            deliver(EnterpriseContactGiven, _many=enterprises)
        return len(statements)

    assert life(3) == life(300)
    assert len(messages("goods_sold")) == 303
