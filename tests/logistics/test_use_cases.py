"""What the doors make clumsy: erasure by time, the network's corners, races."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from services.logistics.batch import LogisticsBatch
from services.logistics.models import CollectionCode, DeliveryAddress, Route, Site
from services.logistics.rules import CODE_TRIES, WrongLevel
from services.logistics.use_cases import contacts, hand_over, routes, site_tree, travelling, ways
from services.logistics.use_cases.hand_over import WrongCode
from services.logistics.worker import run_erasure
from shared.events import ContactGiven
from shared.messaging.batch import transaction
from shared.runtime import clock
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.errors import Conflict
from shared.runtime.ids import new_id


def keep(database: Database, order_id: UUID) -> None:
    with transaction(database, LogisticsBatch) as batch:
        contacts.keep_contact(
            batch,
            ContactGiven(
                order_id=order_id,
                order_ref="ORD-7KQ2M9XH",
                buyer_id=None,
                name="Tashi",
                phone="+8613900000000",
                address="Bahe 7",
                language="bo",
            ),
        )


def move_clock(monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    later = clock.now() + timedelta(days=days)
    monkeypatch.setattr(clock, "now", lambda: later)


def kept(database: Database) -> int:
    with database.readers() as reader:
        return reader.scalar(select(func.count()).select_from(DeliveryAddress)) or 0


def test_a_contact_is_erased_30_days_after_an_order_that_came_to_nothing(
    database: Database, app_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(database, new_id())

    move_clock(monkeypatch, 29)
    assert not run_erasure(database, app_settings)
    assert kept(database) == 1
    move_clock(monkeypatch, 2)
    assert not run_erasure(database, app_settings)

    assert kept(database) == 0


def test_a_contact_is_kept_as_long_as_its_shipment_is_under_way(
    database: Database,
    app_settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    planned: Callable[..., UUID],
) -> None:
    order_id = new_id()
    keep(database, order_id)
    planned(order_id=order_id)

    move_clock(monkeypatch, 400)
    run_erasure(database, app_settings)

    assert kept(database) == 1


def test_a_contact_is_kept_30_days_after_its_shipment_ended(
    database: Database,
    app_settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    planned: Callable[..., UUID],
) -> None:
    order_id = new_id()
    keep(database, order_id)
    shipment_id = planned(order_id=order_id)
    move_clock(monkeypatch, 100)
    for step in (
        travelling.pack,
        travelling.dispatch,
        lambda batch, id_: travelling.fail(batch, id_, "absent"),
        lambda batch, id_: travelling.take_back(batch, id_, restock=True),
    ):
        with transaction(database, LogisticsBatch) as batch:
            step(batch, shipment_id)

    run_erasure(database, app_settings)
    assert kept(database) == 1
    move_clock(monkeypatch, 31)
    run_erasure(database, app_settings)

    assert kept(database) == 0


def test_erasing_goes_on_at_once_while_there_is_more(
    database: Database, app_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contacts, "ERASED_AT_ONCE", 2)
    for _ in range(3):
        keep(database, new_id())

    move_clock(monkeypatch, 31)

    assert run_erasure(database, app_settings)
    assert not run_erasure(database, app_settings)
    assert kept(database) == 0


def test_several_sites_open_all_or_none(database: Database) -> None:
    sites = [
        {"code": "K", "level": "county", "parent_code": "C", "names": {"zh": "县"}},
        {"code": "C", "level": "centre", "names": {"zh": "中心"}},
        {"code": "V", "level": "village", "parent_code": "K", "names": {"zh": "村"}},
    ]

    with pytest.raises(WrongLevel), transaction(database, LogisticsBatch) as batch:
        site_tree.open_sites(batch, sites)

    with database.readers() as reader:
        assert reader.scalar(select(func.count()).select_from(Site)) == 0


def test_opening_500_sites_costs_no_statement_a_site(
    database: Database, sites: dict[str, UUID], count_statements: Callable[[], Any]
) -> None:
    counts = []

    for size in (5, 500):
        villages = [
            {
                "code": f"V-{size}-{number}",
                "level": "village",
                "parent_code": "T",
                "names": {"zh": "村"},
            }
            for number in range(size)
        ]
        with count_statements() as statements, transaction(database, LogisticsBatch) as batch:
            site_tree.open_sites(batch, villages)
        counts.append(len(statements))

    assert counts[0] == counts[1]


def test_a_closed_site_keeps_its_last_way(database: Database, sites: dict[str, UUID]) -> None:
    with transaction(database, LogisticsBatch) as batch:
        site_tree.close_site(batch, sites["V"])
    with transaction(database, LogisticsBatch) as batch:
        routes.open_route(batch, "C", "T", 2, [1], False)

    with database.readers() as reader:
        village = site_tree.find_site(reader, sites["V"])
        assert village.way is not None
        assert len(village.way) == 3


def test_a_route_that_ends_gives_its_way_back_to_the_tree(
    database: Database, sites: dict[str, UUID]
) -> None:
    with transaction(database, LogisticsBatch) as batch:
        route = routes.open_route(batch, "C", "T", 2, [1], False)
    with database.readers() as reader:
        shortened = ways.way_to(site_tree.find_site(reader, sites["T"]), cold=False)

    with transaction(database, LogisticsBatch) as batch:
        routes.end_route(batch, route.id)

    assert shortened is not None
    assert len(shortened) == 1
    with database.readers() as reader:
        way = ways.way_to(site_tree.find_site(reader, sites["T"]), cold=False)
        assert way is not None
        assert [leg.to_id for leg in way] == [sites["K"], sites["T"]]
        assert reader.scalar(select(func.count()).select_from(Route)) == 0


def a_shipment_at_its_site(database: Database, planned: Callable[..., UUID]) -> UUID:
    shipment_id = planned(collect=True)
    for step in (travelling.pack, travelling.dispatch):
        with transaction(database, LogisticsBatch) as batch:
            step(batch, shipment_id)
    with transaction(database, LogisticsBatch) as batch:
        shipment = travelling.lock_shipment(batch, shipment_id)
        travelling.arrive(batch, shipment_id, shipment.site_id)
    return shipment_id


def test_guesses_at_the_same_time_are_all_counted(
    database: Database, planned: Callable[..., UUID], recorded_events: Callable[[], Any]
) -> None:
    shipment_id = a_shipment_at_its_site(database, planned)
    issued = recorded_events()[-1][1]["code"]
    wrong = f"{(int(issued) + 1) % 1_000_000:06d}"

    def guess(_: int) -> str:
        try:
            with transaction(database, LogisticsBatch) as batch:
                outcome = hand_over.collect(
                    batch,
                    shipment_id,
                    code=wrong,
                    received_by=None,
                    collected_fen=13600,
                    difference_reason=None,
                    by="clerk",
                )
        except Conflict as error:
            return type(error).__name__
        return "wrong" if isinstance(outcome, WrongCode) else "collected"

    with ThreadPoolExecutor(4) as pool:
        outcomes = sorted(pool.map(guess, range(8)))

    assert outcomes == ["CodeLocked"] * 3 + ["wrong"] * CODE_TRIES


def test_two_clerks_at_the_same_time_dispatch_a_shipment_once(
    database: Database, planned: Callable[..., UUID], recorded_events: Callable[[], Any]
) -> None:
    shipment_id = planned()
    with transaction(database, LogisticsBatch) as batch:
        travelling.pack(batch, shipment_id)

    def dispatch(_: int) -> None:
        with transaction(database, LogisticsBatch) as batch:
            travelling.dispatch(batch, shipment_id)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(dispatch, range(4)))

    types = [type_ for type_, _ in recorded_events()]
    assert types.count("logistics.shipment_dispatched.v1") == 1


def test_a_code_is_gone_once_the_shipment_was_handed_over(
    database: Database, planned: Callable[..., UUID], recorded_events: Callable[[], Any]
) -> None:
    shipment_id = a_shipment_at_its_site(database, planned)
    code = recorded_events()[-1][1]["code"]

    with transaction(database, LogisticsBatch) as batch:
        hand_over.collect(
            batch,
            shipment_id,
            code=code,
            received_by=None,
            collected_fen=13600,
            difference_reason=None,
            by="clerk",
        )

    with database.readers() as reader:
        assert reader.scalar(select(func.count()).select_from(CollectionCode)) == 0
