"""What a till asks of catalog: what it may sell and until when, and to take goods back."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from services.catalog.app import create_app
from services.catalog.batch import CatalogBatch
from services.catalog.use_cases.goods import prices, products
from shared.events import StationSaleRecorded
from shared.messaging.batch import transaction
from shared.runtime import clock
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.errors import Misconfigured
from shared.runtime.ids import new_id


def kind_of(answer: Any) -> str:
    """Return the last part of a problem's type."""
    return str(answer.json["type"]).rpartition("/")[2]


# --- Contact -----------------------------------------------------------------------------------


def test_a_till_hears_what_it_may_sell_and_it_is_active_from_then_on(
    shop: Any, till: Any, grant: Any, look: Any
) -> None:
    lot = shop.add_lot("L-1", 1000, keeps_days=5)
    grant(till, lot, 400)

    heard = till.contact().json

    (told,) = heard["allotments"]
    assert (told["lot_code"], told["granted"], told["status"]) == ("L-1", 400, "active")
    best_before = clock.today() + timedelta(days=5)
    assert told["best_before"] == best_before.isoformat()
    # One day must be left at the buyer, and the day itself does not count.
    assert told["sell_by"] == (best_before - timedelta(days=2)).isoformat()
    assert heard["device"]["site"]["code"] == "540421103"
    assert heard["device"]["device_code"] == till.device_code
    assert look("/allotments", lot_id=lot)["items"][0]["status"] == "active"


def test_only_what_is_open_is_told(shop: Any, till: Any, grant: Any, operate: Any) -> None:
    lot, other = shop.add_lot("L-1", 1000), shop.add_lot("L-2", 1000)
    grant(till, lot, 400)
    gone = grant(till, other, 400)["allotment_id"]

    operate(f"/allotments/{gone}/write-off", {"counted": 400, "reason": "退回"})

    assert [row["lot_code"] for row in till.contact().json["allotments"]] == ["L-1"]


def test_each_contact_begins_the_lease_anew(
    shop: Any, till: Any, look: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = till.contact().json
    later = clock.now() + timedelta(hours=71)
    monkeypatch.setattr(clock, "now", lambda: later)

    second = till.contact().json

    assert first["lease_seconds"] == 72 * 3600
    assert second["lease_until"] == (later + timedelta(hours=72)).isoformat()
    assert look(f"/devices/{till.device_id}")["lease_until"] == second["lease_until"]


def test_a_lease_that_is_over_takes_nothing_back(
    shop: Any, till: Any, grant: Any, look: Any, quota: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lot = shop.add_lot("L-1", 1000)
    grant(till, lot, 400)
    till.contact()

    later = clock.now() + timedelta(days=400)
    monkeypatch.setattr(clock, "now", lambda: later)

    assert look(f"/devices/{till.device_id}")["lease_over"] is True
    assert quota(till, lot) == (400, 0, 0, 400, 0)
    assert shop.level(lot, shop.station) == {"allotted": 400}


def test_the_lease_on_a_perishable_lot_ends_with_its_last_sale_day(
    shop: Any, till: Any, grant: Any
) -> None:
    honey = shop.add_variant("HONEY", shelf_life_days=None)
    fresh = shop.add_lot("L-1", 1000, keeps_days=3)
    dry = shop.add_lot("L-2", 9, keeps_days=None, variant=honey)
    grant(till, fresh, 400)
    grant(till, dry, 9)

    heard = till.contact().json

    lease = {row["lot_code"]: row["lease_until"] for row in heard["allotments"]}
    assert lease["L-2"] == heard["lease_until"]
    # May be sold today and tomorrow (one day must be left at the buyer), in Asia/Shanghai.
    midnight = datetime.combine(
        clock.today() + timedelta(days=2), datetime.min.time(), tzinfo=clock.LOCAL
    )
    assert datetime.fromisoformat(lease["L-1"]) == midnight


def test_a_revision_grows_with_what_a_till_must_hear_of_and_with_nothing_else(
    shop: Any, till: Any, grant: Any, deliver: Any, post: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    seen = [till.contact().json["revision"]]
    grant(till, lot, 400)
    seen.append(till.contact().json["revision"])
    deliver(StationSaleRecorded, **till.a_sale((lot, 10)))
    seen.append(till.contact().json["revision"])
    post(f"/lots/{lot}/hold", {"reason": "霉"})
    seen.append(till.contact().json["revision"])

    assert seen == [0, 1, 1, 2]


def test_a_till_restored_from_a_backup_has_forgotten_what_it_had_heard(
    shop: Any, till: Any, grant: Any, look: Any
) -> None:
    grant(till, shop.add_lot("L-1", 1000), 400)
    till.contact(seen_revision=till.contact().json["revision"])
    assert look(f"/devices/{till.device_id}")["unheard"] == []

    till.contact(seen_revision=0)

    assert len(look(f"/devices/{till.device_id}")["unheard"]) == 1


def test_what_a_till_says_it_has_left_is_shown_and_changes_nothing(
    shop: Any, till: Any, grant: Any, look: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    grant(till, lot, 400)

    till.contact(remaining={str(lot): 150}, unsynced=2)

    (row,) = look("/allotments", lot_id=lot)["items"]
    assert (row["remaining"], row["reported_remaining"]) == (400, 150)


def test_a_till_hears_the_price_at_the_counter_and_the_next_one(
    shop: Any, till: Any, database: Database
) -> None:
    now = clock.now()
    soon = (now + timedelta(days=1)).replace(microsecond=0)
    with transaction(database, CatalogBatch) as batch:
        for channel, fen, begins in (
            ("online", 9900, None),
            ("station", 6000, now - timedelta(days=2)),
            ("station", 6800, now - timedelta(days=1)),
            ("station", 5000, soon),
        ):
            prices.set_price(batch, shop.variant, channel, fen, 500, begins)

    (variant,) = till.contact().json["variants"]

    assert (variant["sku"], variant["price_fen"], variant["price_unit"]) == ("MATSUTAKE", 6800, 500)
    assert variant["next_price"]["price_fen"] == 5000
    assert variant["next_price"]["valid_from"] == soon.isoformat()


def test_a_till_hears_that_the_price_before_a_dated_one_holds_again(
    shop: Any, till: Any, database: Database
) -> None:
    now = clock.now()
    ends = (now + timedelta(days=1)).replace(microsecond=0)
    with transaction(database, CatalogBatch) as batch:
        prices.set_price(batch, shop.variant, "station", 6800, 500, now - timedelta(days=2))
        prices.set_price(batch, shop.variant, "station", 5000, 500, now, ends)

    (variant,) = till.contact().json["variants"]

    assert (variant["price_fen"], variant["valid_to"]) == (5000, ends.isoformat())
    assert variant["next_price"]["price_fen"] == 6800
    spans = [(p["price_fen"], p["valid_from"], p["valid_to"]) for p in variant["prices"]]
    assert spans == [
        (5000, now.isoformat(), ends.isoformat()),
        (6800, ends.isoformat(), None),
    ]


def test_what_has_no_price_at_the_counter_is_told_without_one(shop: Any, till: Any) -> None:
    (variant,) = till.contact().json["variants"]

    assert (variant["price_fen"], variant["next_price"]) == (None, None)


def test_a_withdrawn_product_is_told_without_a_price_while_a_till_holds_some(
    shop: Any, till: Any, grant: Any, database: Database
) -> None:
    other = shop.add_variant("CORDYCEPS")
    lot = shop.add_lot("L-1", 1000, variant=other)
    grant(till, lot, 10)
    with transaction(database, CatalogBatch) as batch:
        prices.set_price(batch, other, "station", 6000, 500)
        product_id = batch.session.get_one(products.Variant, other).product_id
        products.withdraw_product(batch, product_id)

    told = {variant["sku"]: variant["price_fen"] for variant in till.contact().json["variants"]}

    assert told == {"CORDYCEPS": None, "MATSUTAKE": None}


@pytest.mark.parametrize(
    "changes",
    [
        {"device_time": "2026-08-20T09:30:00"},
        {"seen_revision": -1},
        {"app_version": ""},
        {"remaining": {"x": 1}},
    ],
)
def test_what_no_till_would_say_is_refused(shop: Any, till: Any, changes: dict[str, Any]) -> None:
    assert till.contact(**changes).status_code == 422


@pytest.mark.parametrize(
    ("wrong", "years"),
    [
        ("1970-01-01T00:00:00Z", -50),
        ("2099-01-01T00:00:00Z", 50),
        ("2250-01-01T00:00:00Z", 150),
        ("0001-01-01T00:00:00+08:00", -100),
        ("9999-12-31T23:59:59-08:00", 150),
        ("+012026-11-25T08:30:00.000Z", 150),
        ("-000001-11-25T08:30:00.000Z", -100),
    ],
)
def test_a_clock_that_is_wrong_by_years_is_no_reason_to_refuse_a_till(
    shop: Any, till: Any, look: Any, wrong: str, years: int
) -> None:
    assert till.contact(device_time=wrong, oldest_unsynced_at=wrong).status_code == 200

    offset = look(f"/devices/{till.device_id}")["clock_offset_seconds"]
    assert abs(offset) > abs(years) * 365 * 86_400
    assert (offset < 0) == (years < 0)


def test_a_lease_of_seconds_that_make_no_sense_fails_at_the_start(app_settings: Settings) -> None:
    environment = {**app_settings.environment, "FARMGATE_CATALOG_LEASE_SECONDS": "3"}

    with pytest.raises(Misconfigured):
        create_app(Settings.from_environment("catalog", environment))


# --- Goods given back --------------------------------------------------------------------------


def test_a_return_counts_once_however_often_it_is_sent(
    shop: Any, till: Any, grant: Any, quota: Any, balanced: Any
) -> None:
    """An offline return or void counts once.

    OCA/l10n-spain#4921; OCA/pos#172; itpp-labs/pos-addons#864
    """
    lot = shop.add_lot("L-1", 1000)
    back = (new_id(), grant(till, lot, 400)["allotment_id"], 150)

    answers = till.give_back(back, back) + till.give_back(back)

    assert [answer["status"] for answer in answers] == ["accepted", "duplicate", "duplicate"]
    assert quota(till, lot) == (400, 0, 150, 250, 0)
    assert shop.level(lot, shop.station) == {"available": 150, "allotted": 250}
    assert balanced() == []


def test_returns_sent_from_two_tabs_at_once_count_once(
    shop: Any, till: Any, grant: Any, quota: Any, in_threads: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    back = (new_id(), grant(till, lot, 400)["allotment_id"], 150)
    client = till.client.application.test_client  # each thread needs its own

    def send() -> Any:
        return replace(till, client=client()).give_back(back)

    answers = in_threads([send] * 4)

    assert sorted(answer[0]["status"] for answer in answers) == ["accepted"] + ["duplicate"] * 3
    assert quota(till, lot) == (400, 0, 150, 250, 0)


def test_one_bad_return_does_not_hold_up_the_others(
    shop: Any, till: Any, enrol: Any, grant: Any, operate: Any, quota: Any
) -> None:
    lot, gone = shop.add_lot("L-1", 1000), shop.add_lot("L-2", 1000)
    good = grant(till, lot, 400)["allotment_id"]
    closed = grant(till, gone, 10)["allotment_id"]
    operate(f"/allotments/{closed}/write-off", {"counted": 10, "reason": "退回"})
    others = grant(enrol(), lot, 100)["allotment_id"]

    answers = till.give_back(
        (new_id(), good, 500),
        (new_id(), others, 1),
        (new_id(), new_id(), 1),
        (new_id(), closed, 1),
        (new_id(), good, 400),
    )

    assert [answer["reason"] for answer in answers] == [
        "beyond_remaining",
        "unknown_allotment",
        "unknown_allotment",
        "allotment_closed",
        None,
    ]
    assert quota(till, lot) == (400, 0, 400, 0, 0)


@pytest.mark.parametrize(
    "flaw",
    [
        "NaN",
        "1e400",
        "0",
        '"\\ud800"',
        '5, "quantity": 6',
        '5, "\\u0000": 1',
        "[" * 900 + "]" * 900,
        "[" * 100_000 + "]" * 100_000,
    ],
    ids=lambda flaw: flaw[:20],
)
def test_a_return_that_is_hardly_json_is_disputed_and_its_neighbours_count(
    shop: Any, till: Any, grant: Any, quota: Any, balanced: Any, flaw: str
) -> None:
    lot = shop.add_lot("L-1", 1000)
    allotment_id, bad = grant(till, lot, 400)["allotment_id"], new_id()
    parts = [
        f'{{"return_id": "{name}", "allotment_id": "{allotment_id}", "quantity": {quantity}}}'
        for name, quantity in ((new_id(), "100"), (bad, flaw), (new_id(), "50"))
    ]

    answer = till.client.post(
        "/api/catalog/v1/till/returns",
        data=f'{{"returns": [{", ".join([*parts, "7"])}]}}',
        headers=till.headers | {"Content-Type": "application/json"},
    )

    assert answer.status_code == 200, answer.text
    answers = answer.json["answers"]
    assert [each["status"] for each in answers] == ["accepted", "disputed", "accepted", "disputed"]
    assert answers[1] == {"return_id": str(bad), "status": "disputed", "reason": "unreadable"}
    assert answers[3] == {"return_id": None, "status": "disputed", "reason": "unreadable"}
    assert quota(till, lot) == (400, 0, 150, 250, 0)
    assert balanced() == []


def test_a_disputed_return_stays_disputed_and_a_used_name_is_not_for_something_else(
    shop: Any, till: Any, grant: Any, quota: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    allotment_id, name, bad = grant(till, lot, 400)["allotment_id"], new_id(), new_id()
    till.give_back((name, allotment_id, 10), (bad, allotment_id, 999))
    grant(till, lot, 600)

    answers = till.give_back((name, allotment_id, 11), (bad, allotment_id, 999))

    assert [answer["status"] for answer in answers] == ["disputed", "disputed"]
    assert [answer["reason"] for answer in answers] == ["other_content", "beyond_remaining"]
    assert quota(till, lot) == (1000, 0, 10, 990, 0)


def test_returned_goods_of_a_stopped_lot_are_held(
    shop: Any, till: Any, grant: Any, post: Any, balanced: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    allotment_id = grant(till, lot, 400)["allotment_id"]
    post(f"/lots/{lot}/hold", {"reason": "霉"})

    till.give_back((new_id(), allotment_id, 150))

    assert shop.level(lot, shop.station) == {"held": 150, "allotted": 250}
    post(f"/lots/{lot}/release")
    assert shop.level(lot, shop.station) == {"available": 150, "allotted": 250}
    assert balanced() == []


def test_a_till_that_was_replaced_cannot_give_back(
    shop: Any, till: Any, enrol: Any, grant: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    allotment_id = grant(till, lot, 400)["allotment_id"]
    enrol(device_id=till.device_id)

    answer = till.client.post(
        "/api/catalog/v1/till/returns",
        json={
            "returns": [{"return_id": str(new_id()), "allotment_id": allotment_id, "quantity": 1}]
        },
        headers=till.headers,
    )

    assert (answer.status_code, kind_of(answer)) == (403, "missing-scope")
