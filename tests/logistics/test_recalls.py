"""A lot that is held or recalled stops the shipments that carry it, wherever they are."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from services.logistics.batch import LogisticsBatch
from services.logistics.models import Shipment, ShipmentLine
from services.logistics.rules import ShipmentState
from services.logistics.use_cases import hand_over, travelling
from services.logistics.use_cases.stopped import LotStopped
from services.logistics.use_cases.verify import compare
from shared.events import (
    LotHeld,
    LotRecalled,
    LotReleased,
    OrderCancelled,
    OrderConfirmed,
    OrderRejected,
    ParcelHandedOver,
)
from shared.messaging.batch import transaction
from shared.runtime import clock
from shared.runtime.database import Database
from shared.runtime.ids import new_id

Deliver = Callable[..., list[UUID]]
Planned = Callable[..., UUID]
Recorded = Callable[[], list[tuple[str, dict[str, Any]]]]
Waiting = Callable[..., tuple[UUID, str]]

#: What brings a parcel to its buyer, in this order.
WAY = ("pack", "dispatch", "arrive", "deliver")


@pytest.fixture
def go(database: Database, sites: dict[str, UUID]) -> Callable[..., None]:
    """Take steps of a shipment's way, one transaction each, as people would."""

    def act(shipment_id: UUID, *steps: str) -> None:
        for step in steps:
            with transaction(database, LogisticsBatch) as batch:
                match step:
                    case "pack" | "dispatch":
                        getattr(travelling, step)(batch, shipment_id)
                    case "arrive":
                        travelling.arrive(batch, shipment_id, sites["T"])
                    case "deliver":
                        hand_over.deliver(
                            batch,
                            shipment_id,
                            received_by="Tashi",
                            collected_fen=13600,
                            difference_reason=None,
                            by="driver",
                        )
                    case "collect":
                        hand_over.collect(
                            batch,
                            shipment_id,
                            code=None,
                            received_by="Tashi",
                            collected_fen=13600,
                            difference_reason=None,
                            by="clerk",
                        )
                    case "return":
                        travelling.take_back(batch, shipment_id, restock=True)

    return act


def the_shipment(database: Database, shipment_id: UUID) -> Shipment:
    with database.readers() as reader:
        return reader.get_one(Shipment, shipment_id)


def lots_of(database: Database, shipment_id: UUID) -> list[UUID]:
    with database.readers() as reader:
        lines = select(ShipmentLine).where(ShipmentLine.shipment_id == shipment_id)
        return [line.lot_id for line in reader.scalars(lines.order_by(ShipmentLine.lot_code))]


def differences(database: Database) -> list[str]:
    with database.readers() as reader:
        return [difference.detail for difference in compare(reader).differences]


def facts(recorded_events: Recorded, type_: str) -> list[dict[str, Any]]:
    return [data for key, data in recorded_events() if key == f"logistics.{type_}.v1"]


def hold(deliver: Deliver, lot_id: UUID) -> None:
    deliver(LotHeld, lot_id=lot_id, reason="residue?")


def recall(deliver: Deliver, lot_id: UUID) -> None:
    deliver(LotRecalled, lot_id=lot_id, reason="residue")


def release(deliver: Deliver, lot_id: UUID) -> None:
    deliver(
        LotReleased,
        lot_id=lot_id,
        lot_code="L-1",
        variant_id=new_id(),
        producer_id=new_id(),
        best_before=None,
    )


@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_a_held_lot_stops_its_shipment_at_the_next_step_until_it_is_released(
    database: Database, deliver: Deliver, planned: Planned, go: Callable[..., None], done: int
) -> None:
    """To arrive is no step that can be refused: where the parcel is is noted all the same."""
    shipment_id = planned()
    go(shipment_id, *WAY[:done])
    steps = [step for step in WAY[done:] if step != "arrive"]
    held = lots_of(database, shipment_id)[1]

    hold(deliver, held)
    with pytest.raises(LotStopped, match="lot L-2, which is held: keep the goods where they are"):
        go(shipment_id, steps[0])
    release(deliver, held)
    go(shipment_id, *WAY[done:])

    assert the_shipment(database, shipment_id).state == ShipmentState.DELIVERED


def test_a_refused_step_names_the_lot_in_its_problem(
    client: Any,
    token: Callable[..., dict[str, str]],
    deliver: Deliver,
    database: Database,
    planned: Planned,
) -> None:
    shipment_id = planned()
    hold(deliver, lots_of(database, shipment_id)[0])

    answer = client.post(
        f"/api/logistics/v1/shipments/{shipment_id}/pack",
        headers=token("shipments:operate") | {"Idempotency-Key": "p"},
    )

    assert answer.status_code == 409
    assert answer.json["type"].endswith("lot-stopped")
    assert answer.json["lots"] == [{"lot_code": "L-1", "status": "held"}]
    assert the_shipment(database, shipment_id).state == ShipmentState.PLANNED


def test_of_a_parcel_that_arrives_with_a_held_lot_the_buyer_hears_when_it_is_released(
    database: Database,
    deliver: Deliver,
    planned: Planned,
    go: Callable[..., None],
    recorded_events: Recorded,
    sites: dict[str, UUID],
) -> None:
    shipment_id = planned(collect=True)
    go(shipment_id, "pack", "dispatch")
    first, second = lots_of(database, shipment_id)
    hold(deliver, first)
    hold(deliver, second)

    go(shipment_id, "arrive")
    told = len(facts(recorded_events, "collection_code_issued"))
    release(deliver, first)
    told += len(facts(recorded_events, "collection_code_issued"))

    assert told == 0
    assert the_shipment(database, shipment_id).at_site_id == sites["T"]
    assert differences(database) == []
    release(deliver, second)
    assert len(facts(recorded_events, "collection_code_issued")) == 1
    assert [fact["final"] for fact in facts(recorded_events, "shipment_arrived")] == [True]
    assert differences(database) == []
    go(shipment_id, "collect")


def test_a_parcel_that_waits_at_its_site_is_not_collected_while_its_lot_is_held(
    database: Database, deliver: Deliver, waiting: Waiting, go: Callable[..., None]
) -> None:
    shipment_id, _ = waiting()
    hold(deliver, lots_of(database, shipment_id)[0])

    with pytest.raises(LotStopped):
        go(shipment_id, "collect")
    release(deliver, lots_of(database, shipment_id)[0])
    go(shipment_id, "collect")


@pytest.mark.parametrize("done", [0, 1])
def test_a_recalled_lot_that_has_not_left_does_not_leave_and_is_packed_again(
    database: Database,
    deliver: Deliver,
    planned: Planned,
    go: Callable[..., None],
    recorded_events: Recorded,
    done: int,
) -> None:
    shipment_id = planned()
    go(shipment_id, *WAY[:done])
    lot_id = lots_of(database, shipment_id)[0]

    recall(deliver, lot_id)

    (fact,) = facts(recorded_events, "shipment_recalled")
    assert fact["where"] == "here"
    assert [lot["lot_id"] for lot in fact["lots"]] == [str(lot_id)]
    shipment = the_shipment(database, shipment_id)
    assert (shipment.state, shipment.packed_at) == (ShipmentState.PLANNED, None)
    with pytest.raises(LotStopped, match="put its goods aside"):
        go(shipment_id, "pack")
    assert differences(database) == []


@pytest.mark.parametrize("done", [2, 3])
@pytest.mark.parametrize("collect", [True, False])
def test_a_parcel_on_its_way_with_a_recalled_lot_comes_back(
    database: Database,
    deliver: Deliver,
    planned: Planned,
    go: Callable[..., None],
    recorded_events: Recorded,
    done: int,
    collect: bool,
) -> None:
    shipment_id = planned(collect=collect)
    go(shipment_id, *WAY[:done])

    recall(deliver, lots_of(database, shipment_id)[0])

    assert facts(recorded_events, "shipment_recalled")[0]["where"] == "on_its_way"
    assert facts(recorded_events, "delivery_failed")[0]["reason"] == "lot_recalled"
    shipment = the_shipment(database, shipment_id)
    assert (shipment.state, shipment.refusal) == (ShipmentState.REFUSED, "lot_recalled")
    with pytest.raises(Exception, match=r"which is recalled: send the goods back|is refused and"):
        go(shipment_id, "collect" if collect else "deliver")
    assert differences(database) == []
    go(shipment_id, "return")
    assert differences(database) == []


@pytest.mark.parametrize("how", ["deliver", "collect"])
def test_of_goods_that_their_buyer_has_a_recall_says_so_and_changes_nothing(
    database: Database,
    deliver: Deliver,
    planned: Planned,
    go: Callable[..., None],
    recorded_events: Recorded,
    how: str,
) -> None:
    shipment_id = planned(collect=how == "collect")
    go(shipment_id, *WAY[:3], how)
    before = the_shipment(database, shipment_id)

    recall(deliver, lots_of(database, shipment_id)[0])

    assert facts(recorded_events, "shipment_recalled")[0]["where"] == "with_buyer"
    after = the_shipment(database, shipment_id)
    assert (after.state, after.ended_at) == (before.state, before.ended_at)
    assert differences(database) == []


def test_a_recall_after_a_hold_takes_the_parcel_back_that_the_hold_had_stopped(
    database: Database, deliver: Deliver, planned: Planned, go: Callable[..., None]
) -> None:
    shipment_id = planned(collect=True)
    go(shipment_id, "pack", "dispatch")
    lot_id = lots_of(database, shipment_id)[0]

    hold(deliver, lot_id)
    go(shipment_id, "arrive")
    recall(deliver, lot_id)

    assert the_shipment(database, shipment_id).state == ShipmentState.REFUSED
    assert differences(database) == []


def test_an_order_confirmed_after_the_recall_is_stopped_as_it_is_planned(
    database: Database,
    deliver: Deliver,
    a_confirmed_order: Callable[..., dict[str, Any]],
    recorded_events: Recorded,
) -> None:
    order = a_confirmed_order()
    lot_id = order["lines"][0]["lots"][1]["lot_id"]
    recall(deliver, lot_id)

    deliver(OrderConfirmed, **order)

    (fact,) = facts(recorded_events, "shipment_recalled")
    assert (fact["where"], fact["lots"][0]["lot_id"]) == ("here", str(lot_id))


@pytest.mark.parametrize("done", [0, 1])
def test_a_cancelled_order_is_not_stopped_twice(
    database: Database,
    deliver: Deliver,
    a_confirmed_order: Callable[..., dict[str, Any]],
    planned: Planned,
    go: Callable[..., None],
    recorded_events: Recorded,
    done: int,
) -> None:
    order = a_confirmed_order()
    shipment_id = planned(**order)
    go(shipment_id, *WAY[:done])
    cancelled = {"order_id": order["order_id"], "order_ref": "ORD-1", "reason": "buyer"}

    deliver(OrderCancelled, **cancelled)
    recall(deliver, lots_of(database, shipment_id)[0])

    assert the_shipment(database, shipment_id).state == ShipmentState.CANCELLED
    assert facts(recorded_events, "shipment_recalled") == []


def test_a_stopped_shipment_can_still_be_cancelled(
    database: Database,
    deliver: Deliver,
    a_confirmed_order: Callable[..., dict[str, Any]],
    planned: Planned,
) -> None:
    order = a_confirmed_order()
    shipment_id = planned(**order)

    recall(deliver, lots_of(database, shipment_id)[0])
    deliver(OrderCancelled, order_id=order["order_id"], order_ref="ORD-1", reason="buyer")

    assert the_shipment(database, shipment_id).state == ShipmentState.CANCELLED


@pytest.mark.parametrize("first", [0, 1])
def test_a_recall_that_meets_the_dispatch_stops_it_or_calls_it_back(
    database: Database,
    deliver: Deliver,
    planned: Planned,
    go: Callable[..., None],
    recorded_events: Recorded,
    in_threads: Callable[..., list[Any]],
    first: int,
) -> None:
    shipment_ids = [planned() for _ in range(6)]
    for shipment_id in shipment_ids:
        go(shipment_id, "pack")
    lot_ids = [lots_of(database, shipment_id)[first] for shipment_id in shipment_ids]

    def dispatch_all() -> None:
        for shipment_id in shipment_ids:
            try:
                go(shipment_id, "dispatch")
            except Exception as error:
                assert "LotStopped" in type(error).__name__ or "cannot become" in str(error)

    def recall_all() -> None:
        for lot_id in reversed(lot_ids):
            recall(deliver, lot_id)

    in_threads([dispatch_all, recall_all])

    states = [the_shipment(database, shipment_id).state for shipment_id in shipment_ids]
    assert set(states) <= {ShipmentState.PLANNED, ShipmentState.REFUSED}
    told = {
        fact["shipment_id"]: fact["where"] for fact in facts(recorded_events, "shipment_recalled")
    }
    for shipment_id, state in zip(shipment_ids, states, strict=True):
        expected = "here" if state == ShipmentState.PLANNED else "on_its_way"
        assert told[str(shipment_id)] == expected


def hand_out(deliver: Deliver, shipment_id: UUID, site_id: UUID, code: str | None = None) -> UUID:
    """Let a till say that it gave the parcel away while it was cut off; return the entry's id."""
    entry_id = new_id()
    deliver(
        ParcelHandedOver,
        entry_id=entry_id,
        shipment_id=shipment_id,
        site_id=site_id,
        device_code="T-1",
        code=code,
        received_by="Tashi",
        collected_fen=13600,
        difference_reason=None,
        device_time=clock.now(),
    )
    return entry_id


def test_what_a_till_gave_away_of_a_held_lot_while_cut_off_is_with_its_buyer(
    database: Database,
    deliver: Deliver,
    waiting: Waiting,
    recorded_events: Recorded,
    sites: dict[str, UUID],
) -> None:
    shipment_id, _ = waiting()
    lot_id = lots_of(database, shipment_id)[0]
    hold(deliver, lot_id)

    hand_out(deliver, shipment_id, sites["T"])
    recall(deliver, lot_id)

    assert the_shipment(database, shipment_id).state == ShipmentState.COLLECTED
    assert facts(recorded_events, "shipment_recalled")[-1]["where"] == "with_buyer"
    assert differences(database) == []


def test_what_a_cut_off_till_gave_away_is_with_its_buyer_who_is_warned_of_the_recall(
    database: Database,
    deliver: Deliver,
    waiting: Waiting,
    recorded_events: Recorded,
    sites: dict[str, UUID],
) -> None:
    shipment_id, _ = waiting()
    lot_id = lots_of(database, shipment_id)[0]
    recall(deliver, lot_id)

    hand_out(deliver, shipment_id, sites["T"])

    shipment = the_shipment(database, shipment_id)
    assert (shipment.state, shipment.refusal) == (ShipmentState.COLLECTED, None)
    assert facts(recorded_events, "hand_over_refused") == []
    assert [fact["where"] for fact in facts(recorded_events, "shipment_recalled")] == [
        "on_its_way",
        "with_buyer",
    ]
    assert [type_ for type_, _ in recorded_events()][-2:] == [
        "logistics.shipment_collected.v1",
        "logistics.shipment_recalled.v1",
    ]
    assert differences(database) == []


@pytest.mark.parametrize(
    ("then", "reason"), [("wrong code", "wrong-code"), ("returned", "wrong-shipment-state")]
)
def test_what_a_till_cannot_have_given_away_is_disputed_and_still_comes_back(
    database: Database,
    deliver: Deliver,
    waiting: Waiting,
    go: Callable[..., None],
    recorded_events: Recorded,
    sites: dict[str, UUID],
    then: str,
    reason: str,
) -> None:
    shipment_id, code = waiting()
    recall(deliver, lots_of(database, shipment_id)[0])
    wrong = f"{(int(code) + 1) % 1_000_000:06d}"
    if then == "returned":
        go(shipment_id, "return")

    entry_id = hand_out(deliver, shipment_id, sites["T"], code=wrong)

    (refusal,) = facts(recorded_events, "hand_over_refused")
    assert (refusal["entry_id"], refusal["reason"]) == (str(entry_id), reason)
    shipment = the_shipment(database, shipment_id)
    expected = ShipmentState.RETURNED if then == "returned" else ShipmentState.REFUSED
    assert (shipment.state, shipment.refusal) == (expected, "lot_recalled")
    assert [fact["where"] for fact in facts(recorded_events, "shipment_recalled")] == ["on_its_way"]


def with_other_lots(order: dict[str, Any]) -> dict[str, Any]:
    """Return the order as it is confirmed again: other lots for the same quantity."""
    (line,) = order["lines"]
    lots = [
        lot | {"lot_id": new_id(), "lot_code": f"L-{number}"}
        for number, lot in enumerate(line["lots"], 3)
    ]
    return order | {"lines": [line | {"lots": lots}]}


@pytest.mark.parametrize("done", [0, 1])
def test_a_stopped_shipment_takes_the_lots_of_the_next_confirmation_and_goes_on(
    database: Database,
    deliver: Deliver,
    a_confirmed_order: Callable[..., dict[str, Any]],
    planned: Planned,
    go: Callable[..., None],
    recorded_events: Recorded,
    done: int,
) -> None:
    order = a_confirmed_order()
    shipment_id = planned(**order)
    go(shipment_id, *WAY[:done])
    recall(deliver, lots_of(database, shipment_id)[0])
    again = with_other_lots(order)

    deliver(OrderConfirmed, **again)
    go(shipment_id, *WAY)

    lots = [lot["lot_id"] for lot in again["lines"][0]["lots"]]
    assert lots_of(database, shipment_id) == lots
    (left,) = facts(recorded_events, "shipment_dispatched")
    assert [lot["lot_id"] for lot in left["lines"][0]["lots"]] == [str(lot) for lot in lots]
    assert differences(database) == []


def test_a_shipment_whose_next_lots_are_recalled_too_is_stopped_again(
    database: Database,
    deliver: Deliver,
    a_confirmed_order: Callable[..., dict[str, Any]],
    planned: Planned,
    recorded_events: Recorded,
) -> None:
    order = a_confirmed_order()
    shipment_id = planned(**order)
    recall(deliver, lots_of(database, shipment_id)[0])
    again = with_other_lots(order)
    lot_id = again["lines"][0]["lots"][1]["lot_id"]
    recall(deliver, lot_id)

    deliver(OrderConfirmed, **again)

    told = facts(recorded_events, "shipment_recalled")
    assert [fact["where"] for fact in told] == ["here", "here"]
    assert [lot["lot_id"] for lot in told[1]["lots"]] == [str(lot_id)]


def test_a_packed_shipment_keeps_its_lots_when_the_confirmation_is_repeated(
    database: Database,
    deliver: Deliver,
    a_confirmed_order: Callable[..., dict[str, Any]],
    planned: Planned,
    go: Callable[..., None],
) -> None:
    order = a_confirmed_order()
    shipment_id = planned(**order)
    go(shipment_id, "pack")
    before = lots_of(database, shipment_id)

    deliver(OrderConfirmed, **with_other_lots(order))

    assert lots_of(database, shipment_id) == before


def test_the_shipment_of_an_order_that_gets_no_other_lots_is_cancelled(
    database: Database,
    deliver: Deliver,
    a_confirmed_order: Callable[..., dict[str, Any]],
    planned: Planned,
    recorded_events: Recorded,
) -> None:
    order = a_confirmed_order()
    shipment_id = planned(**order)
    recall(deliver, lots_of(database, shipment_id)[0])

    deliver(
        OrderRejected,
        order_id=order["order_id"],
        order_ref="ORD-1",
        reason="lot_recalled",
        shortfalls=[],
    )

    assert the_shipment(database, shipment_id).state == ShipmentState.CANCELLED
    assert len(facts(recorded_events, "shipment_cancelled")) == 1


def test_shipments_are_found_by_a_lot_that_they_carry(
    client: Any, token: Callable[..., dict[str, str]], database: Database, planned: Planned
) -> None:
    shipment_id, _ = planned(), planned()
    lot_id = lots_of(database, shipment_id)[1]

    answer = client.get(
        f"/api/logistics/v1/shipments?lot_id={lot_id}", headers=token("shipments:read")
    )

    assert [item["shipment_id"] for item in answer.json["items"]] == [str(shipment_id)]


@pytest.mark.parametrize(
    ("stop", "what"),
    [(hold, "the release of what is held (lot L-1)"), (recall, "other lots (lot L-1)")],
)
def test_a_trace_says_which_lot_a_parcel_waits_for(
    client: Any,
    token: Callable[..., dict[str, str]],
    database: Database,
    deliver: Deliver,
    a_confirmed_order: Callable[..., dict[str, Any]],
    planned: Planned,
    stop: Callable[..., None],
    what: str,
) -> None:
    order = a_confirmed_order()
    shipment_id = planned(**order)

    stop(deliver, lots_of(database, shipment_id)[0])

    answer = client.get(
        f"/api/logistics/v1/trace/{order['order_id']}", headers=token("operate")
    ).json
    assert [waiting["what"] for waiting in answer["waiting_for"]] == [what]
