"""What devices may sell while cut off: granted, stopped, given back, counted, and never twice."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from services.catalog.batch import CatalogBatch
from services.catalog.use_cases.stations import allotment_grants, allotment_returns
from services.catalog.use_cases.stock import lots
from services.catalog.use_cases.stock.ledger import OutOfStock
from services.catalog.use_cases.stock.reserve import reserve_stock
from shared.events import SiteClosed, StationSaleRecorded
from shared.messaging.batch import transaction
from shared.runtime.database import Database
from shared.runtime.errors import Conflict
from shared.runtime.ids import new_id

Recorded = Callable[[], list[tuple[str, dict[str, Any]]]]


def kind_of(answer: Any) -> str:
    """Return the last part of a problem's type."""
    return str(answer.json["type"]).rpartition("/")[2]


def wish(till: Any, quantity: int, **which: Any) -> dict[str, Any]:
    named = {name: str(value) for name, value in which.items()}
    return {"device_id": str(till.device_id), "quantity": quantity} | named


# --- Granted -----------------------------------------------------------------------------------


def test_a_grant_takes_stock_out_of_everybody_elses_reach_at_once(
    shop: Any, till: Any, grant: Any, said: Any, balanced: Any, recorded_events: Recorded
) -> None:
    """Online orders cannot lock what a station holds.

    saleor/saleor#9970
    """
    lot = shop.add_lot("L-1", 1000)

    allotment = grant(till, lot, 700)

    refused, reserved = shop.place(301), shop.place(300)
    assert [said(order)[0][0] for order in (refused, reserved)] == [
        "catalog.stock_refused.v1",
        "catalog.stock_reserved.v1",
    ]
    assert shop.level(lot) == {"reserved": 300}
    assert shop.level(lot, shop.station) == {"allotted": 700}
    assert (allotment["granted"], allotment["remaining"], allotment["status"]) == (
        700,
        700,
        "granted",
    )
    said_granted = dict(recorded_events())["catalog.allotment_granted.v1"]
    assert (said_granted["quantity"], said_granted["granted"]) == (700, 700)
    assert balanced() == []


def test_a_grant_cannot_touch_what_orders_have_reserved(shop: Any, till: Any, operate: Any) -> None:
    lot = shop.add_lot("L-1", 1000)
    shop.place(600)

    answer = operate("/allotments", wish(till, 401, lot_id=lot))

    assert (answer.status_code, kind_of(answer)) == (409, "out-of-stock")
    assert answer.json["present"] == 400
    assert shop.level(lot) == {"available": 400, "reserved": 600}


def test_a_second_grant_tops_up_the_first(
    shop: Any, till: Any, grant: Any, quota: Any, recorded_events: Recorded
) -> None:
    lot = shop.add_lot("L-1", 1000)

    first, second = grant(till, lot, 400), grant(till, lot, 100)

    assert first["allotment_id"] == second["allotment_id"]
    assert quota(till, lot) == (500, 0, 0, 500, 0)
    granted = [d for kind, d in recorded_events() if kind == "catalog.allotment_granted.v1"]
    assert [(each["quantity"], each["granted"]) for each in granted] == [(400, 400), (100, 500)]


def test_the_stations_own_stock_is_granted_before_the_centres(
    shop: Any, till: Any, operate: Any, balanced: Any
) -> None:
    early = shop.add_lot("L-centre", 1000, keeps_days=3)
    late = shop.add_lot("L-station", 300, at=shop.station, keeps_days=9)

    answer = operate("/allotments", wish(till, 500, variant_id=shop.variant))

    granted = {row["lot_code"]: row["granted"] for row in answer.json["items"]}
    assert granted == {"L-station": 300, "L-centre": 200}
    assert shop.level(early) == {"available": 800}
    assert shop.level(early, shop.station) == {"allotted": 200}
    assert shop.level(late, shop.station) == {"allotted": 300}
    assert balanced() == []


def test_a_grant_of_a_variant_takes_first_what_expires_first(
    shop: Any, till: Any, operate: Any
) -> None:
    shop.add_lot("A-late", 1000, keeps_days=9)
    shop.add_lot("B-early", 400, keeps_days=3)

    answer = operate("/allotments", wish(till, 500, variant_id=shop.variant))

    granted = {row["lot_code"]: row["granted"] for row in answer.json["items"]}
    assert granted == {"B-early": 400, "A-late": 100}


def test_a_variant_is_granted_all_or_nothing(shop: Any, till: Any, operate: Any) -> None:
    lot = shop.add_lot("L-1", 300)

    answer = operate("/allotments", wish(till, 400, variant_id=shop.variant))

    assert (answer.status_code, answer.json["present"]) == (409, 300)
    assert shop.level(lot) == {"available": 300}


@pytest.mark.parametrize("stop", ["hold", "recall"])
def test_a_lot_that_must_not_be_sold_is_not_granted(
    shop: Any, till: Any, operate: Any, post: Any, stop: str
) -> None:
    lot = shop.add_lot("L-1", 300)
    post(f"/lots/{lot}/{stop}", {"reason": "霉"})

    by_lot = operate("/allotments", wish(till, 100, lot_id=lot))
    by_variant = operate("/allotments", wish(till, 100, variant_id=shop.variant))

    assert kind_of(by_lot) == "wrong-lot-state"
    assert kind_of(by_variant) == "out-of-stock"


def test_a_lot_that_would_expire_on_the_shelf_is_not_granted(
    shop: Any, till: Any, operate: Any
) -> None:
    lot = shop.add_lot("L-1", 300, keeps_days=1)  # and the variant must keep for one at the buyer

    answer = operate("/allotments", wish(till, 100, lot_id=lot))

    assert kind_of(answer) == "wrong-lot-state"


def test_nothing_is_granted_where_no_machine_stands(
    shop: Any, till: Any, operate: Any, deliver: Any
) -> None:
    lot = shop.add_lot("L-1", 300)
    new = operate("/devices", {"site_id": str(shop.county), "name": "x"}).json["device_id"]
    to_new = {"device_id": new, "lot_id": str(lot), "quantity": 1}

    assert kind_of(operate("/allotments", to_new)) == "device-not-active"
    deliver(SiteClosed, site_id=shop.station)
    assert kind_of(operate("/allotments", wish(till, 1, lot_id=lot))) == "location-closed"
    operate(f"/devices/{till.device_id}/revoke", {})
    assert kind_of(operate("/allotments", wish(till, 1, lot_id=lot))) == "device-not-active"


@pytest.mark.parametrize(
    ("which", "status", "kind"),
    [
        ({"lot_id": new_id()}, 404, "lot-not-found"),
        ({"variant_id": new_id()}, 404, "variant-not-found"),
        ({}, 422, "validation-failed"),
        ({"lot_id": new_id(), "variant_id": new_id()}, 422, "validation-failed"),
    ],
)
def test_a_grant_names_one_thing_that_exists(
    shop: Any, till: Any, operate: Any, which: dict[str, Any], status: int, kind: str
) -> None:
    answer = operate("/allotments", wish(till, 1, **which))

    assert (answer.status_code, kind_of(answer)) == (status, kind)


def test_two_tills_at_one_counter_have_two_allotments(
    shop: Any, enrol: Any, grant: Any, quota: Any
) -> None:
    """No cached copy on a second till gets round the stock.

    odoo/odoo#79279; opensourcepos/opensourcepos#3077, #1879;
    defendicon/POS-Awesome-V15#330, #128, #1847
    """
    lot = shop.add_lot("L-1", 1000)
    one, other = enrol(), enrol()

    grant(one, lot, 600)
    grant(other, lot, 400)

    assert (quota(one, lot), quota(other, lot)) == ((600, 0, 0, 600, 0), (400, 0, 0, 400, 0))
    assert shop.level(lot, shop.station) == {"allotted": 1000}


# --- At the same time ------------------------------------------------------------------------


def in_own_transactions(database: Database, works: list[Callable[..., Any]]) -> list[Any]:
    """Return the works as calls, each in a transaction of its own; a refusal is returned."""

    def call(work: Callable[..., Any]) -> Callable[[], Any]:
        def run() -> Any:
            try:
                with transaction(database, CatalogBatch) as batch:
                    return work(batch)
            except Conflict as refusal:
                return refusal

        return run

    return [call(work) for work in works]


def test_grants_at_once_give_no_more_than_there_is(
    shop: Any, enrol: Any, database: Database, in_threads: Any, look: Any, balanced: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    tills = [enrol(), enrol()]

    answers = in_threads(
        in_own_transactions(
            database,
            [
                lambda batch, till=tills[n % 2]: allotment_grants.grant_lot(
                    batch, till.device_id, lot, 150, "operator"
                )
                for n in range(10)
            ],
        )
    )

    assert sum(isinstance(answer, OutOfStock) for answer in answers) == 4
    granted = [row["granted"] for row in look("/allotments", lot_id=lot)["items"]]
    assert sum(granted) == 900
    assert balanced() == []


def test_a_hold_and_grants_at_once_leave_nothing_running_of_a_held_lot(
    shop: Any, enrol: Any, database: Database, in_threads: Any, look: Any, balanced: Any
) -> None:
    lot = shop.add_lot("L-1", 10_000)
    tills = [enrol() for _ in range(3)]
    grants = [
        lambda batch, till=till: allotment_grants.grant_variant(
            batch, till.device_id, shop.variant, 100, "operator"
        )
        for till in tills
        for _ in range(3)
    ]

    in_threads(
        in_own_transactions(
            database,
            [*grants[:4], lambda batch: lots.hold_lot(batch, lot, "霉", "clerk"), *grants[4:]],
        )
    )

    assert {row["status"] for row in look("/allotments", lot_id=lot)["items"]} <= {"suspended"}
    assert balanced() == []


def test_grants_and_orders_at_once_share_the_lot(
    shop: Any, till: Any, database: Database, in_threads: Any, balanced: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    placed = [shop.an_order_for((shop.variant, 100)) for _ in range(8)]
    orders = [lambda batch, order=order: reserve_stock(batch, order) for order in placed]
    grants = [
        lambda batch: allotment_grants.grant_lot(batch, till.device_id, lot, 100, "operator")
        for _ in range(8)
    ]

    in_threads(in_own_transactions(database, [*orders, *grants]))

    at_centre, at_station = shop.level(lot), shop.level(lot, shop.station)
    assert at_centre.get("reserved", 0) + at_station.get("allotted", 0) == 1000
    assert balanced() == []


def test_a_late_sale_and_a_count_at_once_leave_nothing_out_and_nothing_twice(
    shop: Any,
    till: Any,
    grant: Any,
    quota: Any,
    database: Database,
    deliver: Any,
    in_threads: Any,
    look: Any,
    balanced: Any,
) -> None:
    lot = shop.add_lot("L-1", 1000)
    allotment_id = UUID(grant(till, lot, 100)["allotment_id"])
    sales = [till.a_sale((lot, 60))]

    def count(batch: CatalogBatch) -> None:
        allotment_returns.write_off(batch, allotment_id, 0, "丢失", "operator")

    in_threads(
        [
            lambda: deliver(StationSaleRecorded, _many=sales),
            *in_own_transactions(database, [count]),
        ]
    )

    uncovered = len(look("/overdrafts")["items"])
    lost = 100 if uncovered else 40
    assert quota(till, lot) == (100, 100 - lost, 0, 0, lost)
    assert balanced() == []


def test_a_till_that_calls_while_it_is_granted_hears_all_of_it_in_the_end(
    shop: Any, till: Any, database: Database, in_threads: Any, look: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    client = till.client.application.test_client

    def call() -> Any:
        return replace(till, client=client()).contact()

    answers = in_threads(
        [
            *[call] * 4,
            *in_own_transactions(
                database,
                [
                    lambda batch: allotment_grants.grant_lot(batch, till.device_id, lot, 100, "op")
                    for _ in range(4)
                ],
            ),
        ]
    )
    last = till.contact(seen_revision=till.contact().json["revision"]).json

    assert [answer.status_code for answer in answers[:4]] == [200] * 4
    for heard in (*(answer.json for answer in answers[:4]), last):
        # What is told is what the revision stands for: a hundred for each.
        assert sum(row["granted"] for row in heard["allotments"]) == heard["revision"] * 100
    assert (last["revision"], look(f"/devices/{till.device_id}")["unheard"]) == (4, [])
    assert look("/allotments", lot_id=lot)["items"][0]["status"] == "active"


# --- The database itself refuses ---------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "sold = sold + 1",
        "remaining = remaining - 1",
        "granted = granted + 1",
        "sold = -1, remaining = remaining + 1",
        "status = 'closed'",
        "status = 'suspended'",
        "reason = 'operator'",
    ],
)
def test_the_database_keeps_the_equation_and_the_states(
    shop: Any, till: Any, grant: Any, database: Database, change: str
) -> None:
    grant(till, shop.add_lot("L-1", 1000), 400)

    with pytest.raises(IntegrityError), database.sessions.begin() as session:
        session.execute(text(f"UPDATE allotments SET {change}"))
