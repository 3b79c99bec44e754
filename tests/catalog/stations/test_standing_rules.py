"""Standing rules keep stations supplied, and what they will not sell is asked back in time."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select

from services.catalog import timers
from services.catalog.batch import CatalogBatch
from services.catalog.models import DailySales
from services.catalog.use_cases.goods import products
from services.catalog.use_cases.stations import allotment_grants, standing_rule_grants
from shared.events import SiteClosed, StationSaleRecorded
from shared.messaging.batch import transaction
from shared.runtime import clock
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.ids import new_id

Counting = Callable[[], Any]


def kind_of(answer: Any) -> str:
    """Return the last part of a problem's type."""
    return str(answer.json["type"]).rpartition("/")[2]


@pytest.fixture
def rule(client: FlaskClient, token: Any, shop: Any) -> Callable[..., Any]:
    """Keep so much of a variant (the shop's) at a site (the station); returns the answer."""

    def put(keep: int, at: Any = None, variant: Any = None) -> Any:
        path = f"/standing-rules/{at or shop.station}/{variant or shop.variant}"
        return client.put(
            "/api/catalog/v1" + path, json={"keep": keep}, headers=token("stations:operate")
        )

    return put


@pytest.fixture
def tick(database: Database, app_settings: Settings) -> Callable[[], None]:
    """Let catalog's timers run once."""

    def run() -> None:
        for timer in timers.TIMERS:
            timer.run(database, app_settings)

    return run


@pytest.fixture
def travel(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let so many days go by."""

    def go(days: float) -> None:
        moment = clock.now() + timedelta(days=days)
        monkeypatch.setattr(clock, "now", lambda: moment)

    return go


def left(look: Any, **query: Any) -> dict[str, int]:
    """Return what is left of each lot that was granted."""
    found = look("/allotments", **query)["items"]
    return {row["lot_code"]: row["remaining"] for row in found if row["remaining"]}


# --- Rules are set ------------------------------------------------------------------------------


def test_a_rule_is_set_changed_listed_and_dropped(
    shop: Any, rule: Any, look: Any, client: FlaskClient, token: Any
) -> None:
    answers = [rule(keep).json["keep"] for keep in (5000, 5000, 3000)]
    rule(1000, at=shop.county)

    assert answers == [5000, 5000, 3000]
    listed = look("/standing-rules", site_id=shop.station)["items"]
    assert [(each["keep"], each["set_by"]) for each in listed] == [(3000, "operator")]
    path = f"/api/catalog/v1/standing-rules/{shop.station}/{shop.variant}"
    dropped = [client.delete(path, headers=token("stations:operate")).status_code for _ in range(2)]
    assert dropped == [204, 204]
    assert [each["keep"] for each in look("/standing-rules")["items"]] == [1000]


def test_an_impossible_rule_is_refused(shop: Any, rule: Any, deliver: Any) -> None:
    assert kind_of(rule(499)) == "less-than-a-pack"
    assert kind_of(rule(500, variant=new_id())) == "variant-not-found"
    assert kind_of(rule(500, at=new_id())) == "unknown-location"
    deliver(SiteClosed, site_id=shop.station)
    assert kind_of(rule(500)) == "location-closed"


# --- What is missing is granted -----------------------------------------------------------------


def test_what_is_missing_at_a_station_is_granted_once(
    shop: Any, till: Any, rule: Any, tick: Any, look: Any, balanced: Any
) -> None:
    shop.add_lot("L-1", 10_000)
    till.contact()
    rule(2000)

    for _ in range(3):
        tick()

    assert left(look) == {"L-1": 2000}
    assert [a["granted"] for a in till.contact().json["allotments"]] == [2000]
    assert balanced() == []


def test_what_was_sold_is_granted_again_in_whole_packs(
    shop: Any, till: Any, grant: Any, rule: Any, tick: Any, look: Any, deliver: Any
) -> None:
    lot = shop.add_lot("L-1", 10_000)
    till.contact()
    rule(2000)
    tick()

    deliver(StationSaleRecorded, **till.a_sale((lot, 700)))
    tick()

    assert left(look) == {"L-1": 1800}


def test_what_orders_have_reserved_is_not_granted_by_a_rule(
    shop: Any, till: Any, rule: Any, tick: Any, look: Any
) -> None:
    """Online orders and stations share one stock.

    saleor/saleor#9970
    """
    lot = shop.add_lot("L-1", 2000)
    shop.place(1400)
    till.contact()
    rule(2000)

    tick()

    assert left(look) == {"L-1": 500}
    assert shop.level(lot) == {"available": 100, "reserved": 1400}


def test_a_rule_takes_what_expires_first_and_the_sites_own_before_the_centres(
    shop: Any, till: Any, rule: Any, tick: Any, look: Any
) -> None:
    shop.add_lot("C-late", 1000, keeps_days=9)
    shop.add_lot("C-early", 700, keeps_days=4)
    shop.add_lot("S-own", 600, at=shop.station, keeps_days=20)
    till.contact()
    rule(2000)

    tick()

    # 500 of each is the last whole pack of the two smaller ones.
    assert left(look) == {"S-own": 500, "C-early": 500, "C-late": 1000}


def test_a_perishable_lot_is_granted_only_as_far_as_the_station_sells_it_in_time(
    shop: Any, till: Any, grant: Any, rule: Any, tick: Any, look: Any, deliver: Any
) -> None:
    old = shop.add_lot("L-old", 50_000, keeps_days=4)  # sold on three days: until the third
    shop.add_lot("L-new", 50_000, keeps_days=8)  # until the seventh
    grant(till, old, 1000)
    till.contact()
    deliver(StationSaleRecorded, **till.a_sale((old, 1000)))  # all that was sold in a day
    rule(10_000)

    tick()

    assert left(look) == {"L-old": 3000, "L-new": 4000}


def test_what_does_not_spoil_is_granted_however_slowly_it_sells(
    shop: Any, till: Any, grant: Any, rule: Any, tick: Any, look: Any, deliver: Any
) -> None:
    dry = shop.add_variant("HONEY", shelf_life_days=None)
    lot = shop.add_lot("L-1", 50_000, keeps_days=None, variant=dry)
    grant(till, lot, 500)
    till.contact()
    deliver(StationSaleRecorded, **till.a_sale((lot, 1)))
    rule(10_000, variant=dry)

    tick()

    assert left(look) == {"L-1": 499 + 9500}


def test_the_station_with_the_least_cover_is_served_first(
    shop: Any, enrol: Any, grant: Any, rule: Any, tick: Any, look: Any, deliver: Any
) -> None:
    lot = shop.add_lot("L-1", 6000, keeps_days=60)
    slow, quick = enrol(shop.station), enrol(shop.county)
    for till in (slow, quick):
        grant(till, lot, 2000)
        till.contact()
    deliver(StationSaleRecorded, _many=[slow.a_sale((lot, 500)), quick.a_sale((lot, 1500))])
    rule(4000, at=shop.station)
    rule(4000, at=shop.county)

    tick()

    # A day's sale was 500 here and 1500 there: with 1500 and 500 left that lasts three days
    # and a third of one. Both then have what lasts them about as long.
    assert left(look, device_id=quick.device_id) == {"L-1": 2500}
    assert left(look, device_id=slow.device_id) == {"L-1": 1500}


def test_the_device_with_the_least_left_is_served(
    shop: Any, enrol: Any, grant: Any, rule: Any, tick: Any, look: Any
) -> None:
    lot = shop.add_lot("L-1", 10_000)
    full, empty = enrol(), enrol()
    grant(full, lot, 1000)
    for till in (full, empty):
        till.contact()
    rule(3000)

    tick()

    assert left(look, device_id=full.device_id) == {"L-1": 1000}
    assert left(look, device_id=empty.device_id) == {"L-1": 2000}


def test_a_device_that_is_not_heard_of_is_granted_nothing(
    shop: Any, enrol: Any, rule: Any, tick: Any, look: Any, travel: Any, operate: Any
) -> None:
    dry = shop.add_variant("HONEY", shelf_life_days=None)
    shop.add_lot("L-1", 10_000, keeps_days=None, variant=dry)
    silent, gone = enrol(), enrol()
    gone.contact()
    operate(f"/devices/{gone.device_id}/revoke", {})
    rule(1000, variant=dry)

    tick()  # one never called, one may not
    silent.contact()
    travel(4)
    tick()  # its lease is over

    assert left(look) == {}
    silent.contact()
    tick()
    assert left(look) == {"L-1": 1000}


@pytest.mark.parametrize("obstacle", ["closed site", "withdrawn product", "held lot"])
def test_a_rule_grants_nothing_that_must_not_be_sold_there(
    shop: Any,
    till: Any,
    rule: Any,
    tick: Any,
    look: Any,
    post: Any,
    deliver: Any,
    database: Database,
    obstacle: str,
) -> None:
    lot = shop.add_lot("L-1", 10_000)
    till.contact()
    rule(1000)
    match obstacle:
        case "closed site":
            deliver(SiteClosed, site_id=shop.station)
        case "withdrawn product":
            with transaction(database, CatalogBatch) as batch:
                variant = batch.session.get_one(products.Variant, shop.variant)
                products.withdraw_product(batch, variant.product_id)
        case "held lot":
            post(f"/lots/{lot}/hold", {"reason": "霉"})

    tick()

    assert left(look) == {}


def test_what_a_station_gave_back_is_not_granted_to_it_again_by_a_rule(
    shop: Any, till: Any, rule: Any, tick: Any, look: Any
) -> None:
    shop.add_lot("L-1", 1000, keeps_days=3)
    till.contact()
    rule(1000)
    tick()
    (told,) = till.contact().json["allotments"]

    till.give_back((new_id(), told["allotment_id"], 1000))
    tick()

    assert left(look) == {}
    shop.add_lot("L-2", 1000, keeps_days=9)
    tick()
    assert left(look) == {"L-2": 1000}


def test_nothing_is_locked_while_nothing_is_missing(
    shop: Any,
    till: Any,
    rule: Any,
    tick: Any,
    database: Database,
    app_settings: Settings,
    count_statements: Counting,
) -> None:
    shop.add_lot("L-1", 10_000)
    till.contact()
    rule(1000)
    tick()

    with count_statements() as statements:
        timers.apply_standing_rules(database, app_settings)

    assert not [s for s in statements if "FOR UPDATE" in s or "UPDATE " in s]


def test_rules_and_operators_at_once_grant_no_more_than_there_is(
    shop: Any,
    enrol: Any,
    rule: Any,
    look: Any,
    database: Database,
    app_settings: Settings,
    in_threads: Any,
    balanced: Any,
) -> None:
    shop.add_lot("L-1", 5000)
    tills = [enrol(), enrol(shop.county)]
    for till in tills:
        till.contact()
        rule(2000, at=till.site_id)

    def grant(till: Any) -> None:
        with transaction(database, CatalogBatch) as batch:
            allotment_grants.grant_variant(batch, till.device_id, shop.variant, 500, "operator")

    in_threads(
        [
            lambda: timers.apply_standing_rules(database, app_settings),
            lambda: grant(tills[0]),
            lambda: grant(tills[1]),
            lambda: timers.apply_standing_rules(database, app_settings),
        ]
    )

    granted = [row["granted"] for row in look("/allotments")["items"]]
    assert 4000 <= sum(granted) <= 5000
    assert balanced() == []


def test_one_variant_that_cannot_be_served_does_not_keep_the_others_waiting(
    shop: Any,
    till: Any,
    rule: Any,
    look: Any,
    database: Database,
    app_settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = shop.add_variant("CORDYCEPS")
    shop.add_lot("L-1", 1000)
    shop.add_lot("L-2", 1000, variant=other)
    till.contact()
    for variant in (shop.variant, other):
        rule(1000, variant=variant)
    broken = min(shop.variant, other)
    apply = standing_rule_grants.apply_rules

    def fail(batch: Any, variant_id: Any) -> int:
        if variant_id == broken:
            raise RuntimeError("no such luck")
        return apply(batch, variant_id)

    monkeypatch.setattr(standing_rule_grants, "apply_rules", fail)

    with pytest.raises(RuntimeError):
        timers.apply_standing_rules(database, app_settings)

    assert len(left(look)) == 1


# --- What will not sell is asked back ------------------------------------------------------------


def test_what_will_not_sell_is_asked_back_two_days_before_and_all_on_the_last_day(
    shop: Any, till: Any, grant: Any, tick: Any, deliver: Any, travel: Any, look: Any
) -> None:
    lot = shop.add_lot("L-1", 10_000, keeps_days=6)  # last sale day: in four days
    grant(till, lot, 2000)
    deliver(StationSaleRecorded, **till.a_sale((lot, 300)))

    asked = []
    for _ in range(6):
        tick()
        (told,) = till.contact().json["allotments"]
        asked.append((told["proposed_return"], told["status"]))
        travel(1)

    # 300 on the first day make a hundred a day by the third, seventy-five by the fourth.
    assert asked == [
        (0, "active"),
        (0, "active"),
        (1400, "active"),
        (1550, "active"),
        (1700, "active"),
        (1700, "returning"),
    ]
    assert look("/allotments", lot_id=lot)["items"][0]["remaining"] == 1700


def test_a_device_must_hear_of_what_is_asked_back(
    shop: Any, till: Any, grant: Any, tick: Any, travel: Any, look: Any
) -> None:
    lot = shop.add_lot("L-1", 10_000, keeps_days=2)  # last sale day: today
    grant(till, lot, 2000)
    till.contact(seen_revision=till.contact().json["revision"])

    tick()
    unheard = look(f"/devices/{till.device_id}")["unheard"]
    till.contact(seen_revision=till.contact().json["revision"])
    tick()

    assert len(unheard) == 1
    assert look(f"/devices/{till.device_id}")["unheard"] == []


def test_goods_past_their_last_sale_day_can_be_given_back_and_late_sales_of_them_count(
    shop: Any, till: Any, grant: Any, tick: Any, travel: Any, deliver: Any, quota: Any
) -> None:
    lot = shop.add_lot("L-1", 10_000, keeps_days=2)
    allotment_id = grant(till, lot, 2000)["allotment_id"]
    sold_in_time = till.a_sale((lot, 500))
    travel(1)
    tick()

    deliver(StationSaleRecorded, **sold_in_time)
    (answer,) = till.give_back((new_id(), allotment_id, 1500))

    assert answer["status"] == "accepted"
    assert quota(till, lot) == (2000, 500, 1500, 0, 0)
    assert till.contact().json["allotments"] == []


def test_what_is_sold_out_for_a_fortnight_is_closed(
    shop: Any, till: Any, grant: Any, tick: Any, travel: Any, deliver: Any, look: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    grant(till, lot, 100)
    deliver(StationSaleRecorded, **till.a_sale((lot, 100)))

    states = []
    for days in (13, 2):
        travel(days)
        tick()
        states.append(look("/allotments", lot_id=lot)["items"][0]["status"])

    assert states == ["granted", "closed"]


def test_what_was_sold_long_ago_is_forgotten(
    shop: Any, till: Any, grant: Any, tick: Any, travel: Any, deliver: Any, database: Database
) -> None:
    lot = shop.add_lot("L-1", 1000)
    grant(till, lot, 100)
    deliver(StationSaleRecorded, **till.a_sale((lot, 10)))

    kept = []
    for days in (14, 15):
        travel(days)
        tick()
        with database.readers() as reader:
            kept.append(reader.scalar(select(func.count()).select_from(DailySales)))

    assert kept == [1, 0]
