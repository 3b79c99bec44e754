"""The availability of each variant: what the list shows, and the events that mirror it."""

import json
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from farmgate.roles import ROLES
from services.catalog import timers
from services.catalog.batch import CatalogBatch
from services.catalog.models import Variant
from services.catalog.use_cases.goods import prices, products
from services.catalog.use_cases.stock import levels, lots
from shared.events import AvailabilityChanged, OrderCancelled, SiteClosed
from shared.messaging.batch import transaction
from shared.messaging.tables import Outbox
from shared.runtime import clock
from shared.runtime.config import Misconfigured, Settings
from shared.runtime.database import Database
from shared.runtime.ids import new_id

URL = "/api/catalog/v1/availability"
Listed = dict[str, dict[str, Any]]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Stop the clock, and let it go on by so much."""
    start = clock.now()
    passed = timedelta()

    def go(**span: float) -> None:
        nonlocal passed
        passed += timedelta(**span)
        moment = start + passed
        monkeypatch.setattr(clock, "now", lambda: moment)

    go()
    return go


@pytest.fixture
def tick(
    database: Database, app_settings: Settings, later: Callable[..., None]
) -> Callable[..., None]:
    """Let a second go by, and let catalog's worker compare."""

    def run(settings: Settings = app_settings) -> None:
        later(seconds=1)
        while timers.publish_availability(database, settings):
            pass

    return run


@pytest.fixture
def listed(client: FlaskClient, token: Callable[..., dict[str, str]]) -> Callable[..., Listed]:
    """Read the whole list as a partner does; by SKU."""

    def read(**query: Any) -> Listed:
        found, cursor = {}, {}
        while True:
            headers = token(*ROLES["channel"], subject="acme")
            answer = client.get(URL, query_string=query | cursor, headers=headers)
            assert answer.status_code == 200, answer.text
            found.update({item["sku"]: item for item in answer.json["items"]})
            if answer.json["next"] is None:
                return found
            cursor = {"cursor": answer.json["next"]}

    return read


@pytest.fixture
def changes(database: Database) -> Callable[[], list[tuple[str, int, dict[str, Any]]]]:
    """Return the events of availability: subject, sequence and data of each."""

    def read() -> list[tuple[str, int, dict[str, Any]]]:
        with database.readers() as reader:
            rows = reader.execute(
                select(Outbox.subject, Outbox.sequence, Outbox.body)
                .where(Outbox.type == AvailabilityChanged.routing_key)
                .order_by(Outbox.id)
            )
            return [(row[0], row[1], json.loads(row[2])["data"]) for row in rows]

    return read


def with_packs(settings: Settings, packs: str) -> Settings:
    """Return settings that show so many packs at most."""
    environment = {**settings.environment, "FARMGATE_CATALOG_SHOWN_PACKS": packs}
    return Settings.from_environment("catalog", environment)


# --- What counts --------------------------------------------------------------------------------


def test_a_variant_without_stock_is_listed_with_0(shop: Any, tick: Any, listed: Any) -> None:
    tick()

    (item,) = listed().values()
    assert (
        item.items()
        >= {
            "variant_id": str(shop.variant),
            "unit": "g",
            "pack_quantity": 500,
            "quantity": 0,
            "capped": False,
        }.items()
    )


def test_the_quantity_is_what_an_online_order_could_reserve(
    shop: Any, tick: Any, listed: Any, said: Any
) -> None:
    shop.add_lot("L-1", 3000)
    shop.add_lot("L-2", 2000)
    shop.add_lot("IN-INSPECTION", 900, released=False)
    shop.add_lot("TOO-OLD", 900, keeps_days=1, harvested_days_ago=4)
    shop.add_lot("AT-A-STATION", 900, at=shop.station)
    shop.place(500)
    tick()
    quantity = listed()["MATSUTAKE"]["quantity"]

    too_much, all_of_it = shop.place(quantity + 1), shop.place(quantity)

    assert quantity == 4500
    assert [kind for kind, _ in said(too_much)] == ["catalog.stock_refused.v1"]
    assert [kind for kind, _ in said(all_of_it)] == ["catalog.stock_reserved.v1"]
    tick()
    assert listed()["MATSUTAKE"]["quantity"] == 0


def test_stock_that_was_allotted_counts_again_when_it_is_back_at_the_centre(
    shop: Any, till: Any, grant: Any, tick: Any, listed: Any, database: Database
) -> None:
    lot = shop.add_lot("L-1", 3000)
    allotment = grant(till, lot, 1000)
    tick()
    quantities = [listed()["MATSUTAKE"]["quantity"]]

    till.give_back((new_id(), allotment["allotment_id"], 400))
    tick()
    quantities.append(listed()["MATSUTAKE"]["quantity"])
    with transaction(database, CatalogBatch) as batch:
        levels.move_stock(batch, lot, shop.station, shop.centre, 400, "clerk")
    tick()

    assert [*quantities, listed()["MATSUTAKE"]["quantity"]] == [2000, 2000, 2400]


def test_a_cancelled_order_frees_its_goods_in_the_list(shop: Any, tick: Any, listed: Any) -> None:
    shop.add_lot("L-1", 3000)
    order = shop.place(1000)
    tick()
    before = listed()["MATSUTAKE"]["quantity"]

    shop.end(OrderCancelled, order)
    tick()

    assert (before, listed()["MATSUTAKE"]["quantity"]) == (2000, 3000)


@pytest.mark.parametrize("step", [lots.hold_lot, lots.recall_lot])
def test_a_lot_that_is_held_or_recalled_is_not_listed(
    shop: Any, database: Database, tick: Any, listed: Any, step: Any
) -> None:
    lot = shop.add_lot("L-1", 3000)
    shop.add_lot("L-2", 500)
    tick()

    with transaction(database, CatalogBatch) as batch:
        step(batch, lot, "doubt", "operator")
    tick()

    assert listed()["MATSUTAKE"]["quantity"] == 500


def test_a_released_lot_is_listed(shop: Any, database: Database, tick: Any, listed: Any) -> None:
    lot = shop.add_lot("L-1", 3000, released=False)
    tick()

    with transaction(database, CatalogBatch) as batch:
        lots.inspect_lot(batch, lot)
        lots.release_lot(batch, lot, "operator")
    tick()

    assert listed()["MATSUTAKE"]["quantity"] == 3000


def test_goods_that_grow_too_old_leave_the_list_by_the_clock_alone(
    shop: Any, tick: Any, listed: Any, later: Any
) -> None:
    shop.add_lot("L-1", 3000, keeps_days=4)
    shop.add_lot("L-2", 500, keeps_days=5)
    tick()
    quantities = [listed()["MATSUTAKE"]["quantity"]]

    for days in (2, 1, 1):
        later(days=days)
        tick()
        quantities.append(listed()["MATSUTAKE"]["quantity"])

    # A buyer is promised one more day.
    assert quantities == [3500, 3500, 500, 0]


def test_what_is_withdrawn_or_lies_at_a_closed_centre_cannot_be_sold(
    shop: Any, database: Database, deliver: Any, tick: Any, listed: Any
) -> None:
    other = shop.add_variant("CORDYCEPS", shelf_life_days=None)
    shop.add_lot("L-1", 3000)
    shop.add_lot("L-2", 50, variant=other, keeps_days=None)
    tick()
    quantities = [{sku: item["quantity"] for sku, item in listed().items()}]

    with transaction(database, CatalogBatch) as batch:
        product_id = batch.session.get_one(Variant, other).product_id
        products.withdraw_product(batch, product_id)
    tick()
    quantities.append({sku: item["quantity"] for sku, item in listed().items()})
    deliver(SiteClosed, site_id=shop.centre)
    tick()
    quantities.append({sku: item["quantity"] for sku, item in listed().items()})

    assert quantities == [
        {"MATSUTAKE": 3000, "CORDYCEPS": 50},
        {"MATSUTAKE": 3000, "CORDYCEPS": 0},
        {"MATSUTAKE": 0, "CORDYCEPS": 0},
    ]


# --- The cap ------------------------------------------------------------------------------------


def test_the_operator_may_show_less_in_list_and_event(
    shop: Any, app_settings: Settings, tick: Any, listed: Any, changes: Any
) -> None:
    settings = with_packs(app_settings, "4")
    lot = shop.add_lot("L-1", 3000)
    tick(settings)
    shown = [listed()["MATSUTAKE"]]
    shop.place(500)
    tick(settings)

    shop.place(500)
    tick(settings)
    shown.append(listed()["MATSUTAKE"])
    shop.place(500)
    tick(settings)
    shown.append(listed()["MATSUTAKE"])

    assert [(item["quantity"], item["capped"]) for item in shown] == [
        (2000, True),
        (2000, False),
        (1500, False),
    ]
    assert [(data["quantity"], data["capped"]) for _, _, data in changes()] == [
        (2000, True),
        (2000, False),
        (1500, False),
    ]
    assert shop.level(lot)["available"] == 1500


def test_another_cap_is_published(
    shop: Any, app_settings: Settings, tick: Any, listed: Any
) -> None:
    shop.add_lot("L-1", 3000)
    tick(with_packs(app_settings, "4"))

    tick(with_packs(app_settings, "5"))
    less = listed()["MATSUTAKE"]["quantity"]
    tick(with_packs(app_settings, "0"))

    assert (less, listed()["MATSUTAKE"]["quantity"]) == (2500, 3000)


def test_a_malformed_cap_ends_the_web_process_at_its_start(
    app_settings: Settings, app_of: Any
) -> None:
    with pytest.raises(Misconfigured, match="FARMGATE_CATALOG_SHOWN_PACKS"):
        app_of(with_packs(app_settings, "many"))


# --- The events ---------------------------------------------------------------------------------


def test_a_change_is_published_once_with_the_absolute_quantity(
    shop: Any, tick: Any, listed: Any, changes: Any
) -> None:
    shop.add_lot("L-1", 3000)
    for _ in range(3):
        tick()
    shop.place(500)

    for _ in range(3):
        tick()

    assert [data for _, _, data in changes()] == [
        {"variant_id": str(shop.variant), "quantity": 3000, "capped": False},
        {"variant_id": str(shop.variant), "quantity": 2500, "capped": False},
    ]
    subject, sequence, _ = changes()[-1]
    assert subject == f"variant/{shop.variant}"
    assert listed()["MATSUTAKE"]["version"] == sequence


def test_changes_that_cancel_out_are_not_published(
    shop: Any, tick: Any, listed: Any, changes: Any
) -> None:
    shop.add_lot("L-1", 3000)
    tick()

    shop.end(OrderCancelled, shop.place(500))
    tick()

    assert len(changes()) == 1
    assert listed()["MATSUTAKE"]["quantity"] == 3000


def test_a_variant_has_at_most_one_event_a_second_also_after_a_restart(
    shop: Any, database: Database, app_settings: Settings, tick: Any, later: Any, changes: Any
) -> None:
    shop.add_lot("L-1", 100_000)
    tick()
    seen = []

    # A worker that begins again, and again, compares more often.
    for _ in range(21):
        later(seconds=0.1)
        shop.place(500)
        timers.publish_availability(database, app_settings)
        seen.append(len(changes()))

    assert seen[8:10] == [1, 2]
    assert seen[-1] == 3
    tick()
    assert changes()[-1][2]["quantity"] == 100_000 - 21 * 500


def test_a_clock_that_was_set_back_stops_no_events(
    shop: Any, database: Database, app_settings: Settings, tick: Any, later: Any, changes: Any
) -> None:
    shop.add_lot("L-1", 3000)
    tick()

    later(hours=-5)
    shop.place(500)
    timers.publish_availability(database, app_settings)

    assert changes()[-1][2]["quantity"] == 2500


def test_a_worker_that_dies_before_its_commit_publishes_at_the_next_time(
    shop: Any,
    tick: Any,
    listed: Any,
    changes: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop.add_lot("L-1", 3000)

    def die(batch: CatalogBatch) -> bool:
        raise SystemExit

    with monkeypatch.context() as dying:
        dying.setattr(CatalogBatch, "write", die)
        with pytest.raises(SystemExit):
            tick()
    nothing = (listed(), changes())
    tick()

    assert nothing == ({}, [])
    assert listed()["MATSUTAKE"]["quantity"] == changes()[-1][2]["quantity"] == 3000


def test_prices_and_availability_share_the_sequence_of_their_variant(
    shop: Any, database: Database, tick: Any, listed: Any
) -> None:
    shop.add_lot("L-1", 3000)
    tick()
    for price_fen in (1, 2, 3):
        with transaction(database, CatalogBatch) as batch:
            prices.set_price(batch, shop.variant, "online", price_fen, 500)
    shop.place(500)
    tick()

    with database.readers() as reader:
        statement = select(Outbox.sequence).where(Outbox.subject == f"variant/{shop.variant}")
        sequences = reader.scalars(statement.order_by(Outbox.id)).all()
    assert sequences == [1, 2, 3, 4, 5]
    assert listed()["MATSUTAKE"]["version"] == 5


@pytest.mark.parametrize(
    "harness", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True
)
def test_a_variant_that_an_import_has_locked_delays_no_other(
    shop: Any, database: Database, tick: Any, listed: Any
) -> None:
    """On PostgreSQL alone: SQLite has one writer at a time."""
    other = shop.add_variant("CORDYCEPS")
    with database.sessions.begin() as session:
        session.scalars(select(Variant).where(Variant.id == other).with_for_update()).one()

        tick()
        meanwhile = set(listed())
    tick()

    assert (meanwhile, set(listed())) == ({"MATSUTAKE"}, {"MATSUTAKE", "CORDYCEPS"})


def test_more_variants_than_one_transaction_takes_are_published(
    shop: Any, tick: Any, listed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timers, "PUBLISHED_AT_ONCE", 2)
    for number in range(4):
        shop.add_variant(f"V-{number}")

    tick()

    assert len(listed()) == 5


def test_comparing_takes_as_many_statements_for_many_variants_as_for_one(
    shop: Any, database: Database, app_settings: Settings, count_statements: Any, later: Any
) -> None:
    counts = []
    for number in (0, 6):
        for each in range(number):
            shop.add_lot(f"L-{each}", 500, variant=shop.add_variant(f"V-{each}"))
        later(seconds=1)
        with count_statements() as publishing:
            timers.publish_availability(database, app_settings)
        counts.append(len(publishing))

    assert counts[0] == counts[1]


# --- A mirror -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_a_mirror_that_loses_events_is_right_again_after_the_last_one(
    shop: Any,
    database: Database,
    tick: Any,
    listed: Any,
    changes: Any,
    later: Any,
    seed: int,
) -> None:
    chance = random.Random(seed)
    variants = [shop.variant, *(shop.add_variant(f"V-{number}") for number in range(3))]
    stock = {
        lot: shop.centre
        for number, variant in enumerate(variants)
        for lot in [shop.add_lot(f"L-{number}", 5000, variant=variant)]
    }
    tick()
    # By variant: the version and quantity that the partner has.
    mirror = {item["variant_id"]: (item["version"], item["quantity"]) for item in listed().values()}
    seen = len(changes())

    def act() -> None:
        lot = chance.choice([*stock])
        with transaction(database, CatalogBatch) as batch:
            match chance.randrange(4):
                case 0:
                    levels.receive_stock(batch, lot, shop.centre, 500, "clerk")
                case 1:
                    lots.hold_lot(batch, lot, "doubt", "operator")
                case 2:
                    lots.release_lot(batch, lot, "operator")
        shop.place(
            lines=[
                {
                    "line_no": 1,
                    "variant_id": chance.choice(variants),
                    "quantity": 500,
                    "line_total_fen": 1,
                }
            ]
        )

    for _ in range(30):
        act()
        if chance.random() < 0.7:
            tick()
    later(days=chance.randrange(6))
    tick()
    heard = changes()[seen:]
    last = {subject: sequence for subject, sequence, _ in heard}
    arrived = [each for each in heard if each[1] == last[each[0]] or chance.random() < 0.5]
    arrived += chance.sample(arrived, len(arrived) // 3)  # some come twice, late
    for _, sequence, data in arrived:
        if sequence > mirror[data["variant_id"]][0]:
            mirror[data["variant_id"]] = (sequence, data["quantity"])

    assert len(heard) > 10
    assert mirror == {
        item["variant_id"]: (item["version"], item["quantity"]) for item in listed().values()
    }
    assert {UUID(each) for each in mirror} == set(variants)


# --- The list -----------------------------------------------------------------------------------


def test_the_list_is_paged_and_filtered(
    shop: Any, database: Database, tick: Any, listed: Any, later: Any
) -> None:
    variants = [shop.add_variant(f"V-{number}") for number in range(4)]
    tick()
    shop.add_lot("L-0", 500, variant=variants[0])
    shop.add_lot("L-3", 500, variant=variants[3])
    tick()
    with database.readers() as reader:
        product = reader.get_one(Variant, variants[2]).product_id
    changed_at = listed()["V-3"]["changed_at"]

    assert list(listed(limit=2)) == ["MATSUTAKE", "V-0", "V-1", "V-2", "V-3"]
    assert set(listed(variant_id=[str(variants[1]), str(variants[3])])) == {"V-1", "V-3"}
    assert set(listed(product_id=str(product))) == {"V-2"}
    assert set(listed(product_id=str(product), variant_id=str(variants[1]))) == set()
    assert list(listed(changed_since=changed_at, limit=1)) == ["V-0", "V-3"]
    later(seconds=1)
    assert set(listed(changed_since=clock.rfc3339(clock.now()))) == set()


def test_the_list_takes_as_many_statements_for_many_variants_as_for_one(
    shop: Any, tick: Any, client: FlaskClient, token: Any, count_statements: Any
) -> None:
    for number in range(5):
        shop.add_variant(f"V-{number}")
    tick()

    with count_statements() as seen:
        client.get(URL, headers=token("availability:read"))

    assert len([each for each in seen if "availability" in each]) <= 1


@pytest.mark.parametrize(
    "query",
    [
        {"cursor": "nonsense"},
        {"limit": 0},
        {"variant_id": "1"},
        {"product_id": ["1"]},
        {"changed_since": "yesterday"},
        {"changed_since": "2026-07-01T00:00:00"},
        {"sku": "MATSUTAKE"},
    ],
)
def test_a_malformed_query_is_refused(client: FlaskClient, token: Any, query: Any) -> None:
    answer = client.get(URL, query_string=query, headers=token("availability:read"))

    assert answer.status_code == 422


def test_the_list_is_for_partners_and_operators(
    client: FlaskClient, token: Callable[..., dict[str, str]]
) -> None:
    statuses = {
        role: client.get(URL, headers=token(*scopes)).status_code for role, scopes in ROLES.items()
    }

    assert statuses == {
        "operator": 200,
        "channel": 200,
        "buyer": 403,
        "clerk": 403,
        "producer": 403,
    }
    assert client.get(URL).status_code == 401
