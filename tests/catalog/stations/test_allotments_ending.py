"""Allotments are suspended, resumed, given back, counted and closed; devices are told."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from services.catalog.batch import CatalogBatch
from services.catalog.models import StockMovement
from services.catalog.use_cases.stock import levels
from services.catalog.use_cases.stock.ledger import OutOfStock
from shared.messaging.batch import transaction
from shared.runtime.database import Database
from shared.runtime.ids import new_id

Recorded = Callable[[], list[tuple[str, dict[str, Any]]]]


def kind_of(answer: Any) -> str:
    """Return the last part of a problem's type."""
    return str(answer.json["type"]).rpartition("/")[2]


def wish(till: Any, quantity: int, **which: Any) -> dict[str, Any]:
    named = {name: str(value) for name, value in which.items()}
    return {"device_id": str(till.device_id), "quantity": quantity} | named


# --- Stopped and resumed -----------------------------------------------------------------------


@pytest.mark.parametrize(("stop", "reason"), [("hold", "lot_held"), ("recall", "lot_recalled")])
def test_a_stopped_lot_stops_at_every_device_on_its_next_contact(
    shop: Any, enrol: Any, grant: Any, post: Any, look: Any, stop: str, reason: str
) -> None:
    lot, other = shop.add_lot("L-1", 1000), shop.add_lot("L-2", 1000)
    one, two = enrol(), enrol()
    for till in (one, two):
        grant(till, lot, 200)
        grant(till, other, 200)
        till.contact()

    post(f"/lots/{lot}/{stop}", {"reason": "霉"})

    for till in (one, two):
        told = {row["lot_code"]: row for row in till.contact().json["allotments"]}
        assert (told["L-1"]["status"], told["L-1"]["reason"]) == ("suspended", reason)
        assert (told["L-2"]["status"], told["L-2"]["reason"]) == ("active", None)
    assert shop.level(lot, shop.station) == {"allotted": 400}


def test_an_operator_sees_which_devices_have_not_heard_of_a_recall(
    shop: Any, enrol: Any, grant: Any, post: Any, look: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    near, far = enrol(), enrol()
    for till in (near, far):
        grant(till, lot, 200)
        till.contact(seen_revision=till.contact().json["revision"])
    assert {row["heard"] for row in look(f"/lots/{lot}/devices")["items"]} == {True}

    post(f"/lots/{lot}/recall", {"reason": "霉"})
    told = near.contact().json["revision"]
    assert look(f"/devices/{near.device_id}")["unheard"] != []  # told, and perhaps not kept
    near.contact(seen_revision=told)

    holders = {row["device_code"]: row for row in look(f"/lots/{lot}/devices")["items"]}
    assert holders[near.device_code]["heard"] is True
    assert holders[far.device_code]["heard"] is False
    assert holders[far.device_code]["remaining"] == 200
    allotment_id = holders[far.device_code]["allotment_id"]
    devices = {row["code"]: row["unheard"] for row in look("/devices")["items"]}
    assert devices == {near.device_code: [], far.device_code: [allotment_id]}


def test_a_recall_asks_all_of_the_lot_back(
    shop: Any, till: Any, grant: Any, post: Any, balanced: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    grant(till, lot, 200)
    post(f"/lots/{lot}/recall", {"reason": "霉"})
    (told,) = till.contact().json["allotments"]

    (answer,) = till.give_back((new_id(), told["allotment_id"], told["proposed_return"]))

    assert answer["status"] == "accepted"
    assert shop.level(lot, shop.station) == {"held": 200}
    assert till.contact().json["allotments"] == []  # nothing is left: it is closed
    assert balanced() == []


def test_a_release_resumes_what_the_hold_had_stopped_and_nothing_else(
    shop: Any, enrol: Any, grant: Any, post: Any, operate: Any, look: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    by_hold, by_operator = enrol(), enrol()
    grant(by_hold, lot, 200)
    kept = grant(by_operator, lot, 200)["allotment_id"]
    operate(f"/allotments/{kept}/suspend", {"reason": "钥匙丢了"})

    post(f"/lots/{lot}/hold", {"reason": "霉"})
    post(f"/lots/{lot}/release")

    rows = {row["device_id"]: row for row in look("/allotments", lot_id=lot)["items"]}
    assert rows[str(by_hold.device_id)]["status"] == "granted"
    assert (rows[str(by_operator.device_id)]["reason"]) == "operator"
    assert rows[str(by_operator.device_id)]["note"] == "钥匙丢了"


def test_what_an_operator_suspends_during_a_hold_stays_suspended_after_it(
    shop: Any, till: Any, grant: Any, post: Any, operate: Any, look: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    allotment_id = grant(till, lot, 200)["allotment_id"]
    post(f"/lots/{lot}/hold", {"reason": "霉"})
    operate(f"/allotments/{allotment_id}/suspend", {"reason": "盘点"})

    early = operate(f"/allotments/{allotment_id}/resume")
    post(f"/lots/{lot}/release")

    assert kind_of(early) == "wrong-lot-state"
    assert look("/allotments", lot_id=lot)["items"][0]["reason"] == "operator"
    assert operate(f"/allotments/{allotment_id}/resume").json["status"] == "granted"


def test_a_recall_after_a_hold_is_for_good(
    shop: Any, till: Any, grant: Any, post: Any, operate: Any, look: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    allotment_id = grant(till, lot, 200)["allotment_id"]
    post(f"/lots/{lot}/hold", {"reason": "霉"})

    post(f"/lots/{lot}/recall", {"reason": "确认"})

    resumed = operate(f"/allotments/{allotment_id}/resume")
    assert (resumed.status_code, kind_of(resumed)) == (409, "wrong-lot-state")
    (row,) = look("/allotments", lot_id=lot)["items"]
    assert (row["reason"], row["proposed_return"]) == ("lot_recalled", 200)


def test_an_operator_suspends_and_resumes_one_device(
    shop: Any, till: Any, grant: Any, operate: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    allotment_id = grant(till, lot, 200)["allotment_id"]

    steps = []
    for step in ("suspend", "suspend", "resume", "resume"):
        body = {"reason": "盘点"} if step == "suspend" else None
        operate(f"/allotments/{allotment_id}/{step}", body)
        steps.append(till.contact().json["allotments"][0]["status"])

    assert steps == ["suspended", "suspended", "active", "active"]


def test_a_suspended_allotment_gets_no_more(shop: Any, till: Any, grant: Any, operate: Any) -> None:
    lot = shop.add_lot("L-1", 1000)
    allotment_id = grant(till, lot, 200)["allotment_id"]
    operate(f"/allotments/{allotment_id}/suspend", {"reason": "盘点"})

    by_lot = operate("/allotments", wish(till, 100, lot_id=lot))
    by_variant = operate("/allotments", wish(till, 100, variant_id=shop.variant))

    assert kind_of(by_lot) == "wrong-allotment-state"
    assert kind_of(by_variant) == "out-of-stock"


# --- Given back, counted, closed ------------------------------------------------------------


def test_what_an_operator_counts_back_is_for_everybody_again(
    shop: Any, till: Any, grant: Any, operate: Any, quota: Any, balanced: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    allotment_id = grant(till, lot, 400)["allotment_id"]

    operate(f"/allotments/{allotment_id}/return", {"quantity": 100})
    back = {"quantity": 50, "to_location_id": str(shop.centre)}
    operate(f"/allotments/{allotment_id}/return", back)

    assert quota(till, lot) == (400, 0, 150, 250, 0)
    assert shop.level(lot, shop.station) == {"available": 100, "allotted": 250}
    assert shop.level(lot) == {"available": 650}
    assert balanced() == []


def test_no_more_is_returned_than_is_left(
    shop: Any, till: Any, grant: Any, operate: Any, quota: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    allotment_id = grant(till, lot, 400)["allotment_id"]

    answer = operate(f"/allotments/{allotment_id}/return", {"quantity": 401})

    assert (answer.status_code, kind_of(answer)) == (409, "beyond-remaining")
    assert quota(till, lot) == (400, 0, 0, 400, 0)


def test_a_count_writes_off_what_is_not_there_and_names_who_counted(
    shop: Any,
    till: Any,
    grant: Any,
    operate: Any,
    quota: Any,
    balanced: Any,
    database: Database,
    look: Any,
    recorded_events: Recorded,
) -> None:
    lot = shop.add_lot("L-1", 1000)
    allotment_id = grant(till, lot, 400)["allotment_id"]

    answer = operate(
        f"/allotments/{allotment_id}/write-off", {"counted": 150, "reason": "设备丢失"}
    )

    assert quota(till, lot) == (400, 0, 150, 0, 250)
    assert (answer.json["status"], answer.json["note"]) == ("closed", "设备丢失")
    assert answer.json["actor"] == "operator"
    assert shop.level(lot, shop.station) == {"available": 150}
    (count,) = look(f"/devices/{till.device_id}")["counts"]
    assert (count["counted"], count["missing"], count["reason"]) == (150, 250, "设备丢失")
    assert (count["actor"], count["allotment_id"]) == ("operator", allotment_id)
    with database.readers() as reader:
        lost = reader.scalars(select(StockMovement).where(StockMovement.to_bucket == "lost")).one()
    assert (lost.quantity, lost.reason, lost.actor) == (250, "written_off", "operator")
    kind, returned = recorded_events()[-1]
    assert (kind, returned["quantity"]) == ("catalog.allotment_returned.v1", 150)
    assert balanced() == []


def test_a_count_is_refused_when_something_else_should_be_left_by_now(
    shop: Any, till: Any, grant: Any, operate: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    path = f"/allotments/{grant(till, lot, 400)['allotment_id']}"
    count = {"counted": 250, "reason": "盘点", "book": 400}
    assert operate(f"{path}/return", {"quantity": 100}).status_code == 200

    late = operate(f"{path}/write-off", count)
    right = operate(f"{path}/write-off", count | {"book": 300})

    assert (late.status_code, kind_of(late)) == (409, "outdated-count")
    assert (right.status_code, right.json["written_off"]) == (200, 50)


def test_a_count_cannot_find_more_than_should_be_left(
    shop: Any, till: Any, grant: Any, operate: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    allotment_id = grant(till, lot, 400)["allotment_id"]

    answer = operate(f"/allotments/{allotment_id}/write-off", {"counted": 401, "reason": "?"})

    assert (answer.status_code, kind_of(answer)) == (409, "beyond-remaining")


def test_what_is_written_off_once_is_not_written_off_again(
    shop: Any, till: Any, grant: Any, operate: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    path = f"/allotments/{grant(till, lot, 400)['allotment_id']}/write-off"
    operate(path, {"counted": 0, "reason": "丢失"})

    again = operate(path, {"counted": 0, "reason": "丢失"})

    assert (again.status_code, kind_of(again)) == (409, "wrong-allotment-state")


def test_only_an_empty_allotment_is_closed(shop: Any, till: Any, grant: Any, operate: Any) -> None:
    lot = shop.add_lot("L-1", 1000)
    path = f"/allotments/{grant(till, lot, 400)['allotment_id']}"

    early = operate(f"{path}/close")
    operate(f"{path}/return", {"quantity": 400})
    closed = [operate(f"{path}/close").json["status"] for _ in range(2)]

    assert (early.status_code, kind_of(early)) == (409, "allotment-not-empty")
    assert closed == ["closed", "closed"]


def test_a_closed_allotment_is_opened_again_by_a_grant(
    shop: Any, till: Any, grant: Any, operate: Any, quota: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    path = f"/allotments/{grant(till, lot, 400)['allotment_id']}"
    operate(f"{path}/write-off", {"counted": 300, "reason": "盘点"})

    again = grant(till, lot, 200)

    assert again["status"] == "granted"
    assert quota(till, lot) == (600, 0, 300, 200, 100)


def test_an_allotment_that_does_not_exist_is_not_found(shop: Any, operate: Any) -> None:
    bodies = {
        "return": {"quantity": 1},
        "suspend": {"reason": "x"},
        "resume": None,
        "write-off": {"counted": 0, "reason": "x"},
        "close": None,
    }
    for step, body in bodies.items():
        answer = operate(f"/allotments/{new_id()}/{step}", body)

        assert (answer.status_code, kind_of(answer)) == (404, "allotment-not-found")


def test_allotted_stock_cannot_be_adjusted_or_moved_away(
    shop: Any, till: Any, grant: Any, database: Database
) -> None:
    lot = shop.add_lot("L-1", 400)
    grant(till, lot, 400)

    for work in (
        lambda batch: levels.adjust_stock(batch, lot, shop.station, -1, "counted", "clerk"),
        lambda batch: levels.move_stock(batch, lot, shop.station, shop.centre, 1, "clerk"),
    ):
        with pytest.raises(OutOfStock), transaction(database, CatalogBatch) as batch:
            work(batch)
