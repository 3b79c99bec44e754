"""What stations' tills upload: each entry by itself, and once, whatever happens to the upload."""

import json
import random
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from services.orders.batch import OrdersBatch
from services.orders.models import TillEntry
from services.orders.rules import till as rules
from services.orders.rules.limits import Allowance, Limits
from services.orders.use_cases.upload import upload
from shared.events import DeviceKeyGiven
from shared.messaging.batch import transaction
from shared.runtime.database import Database
from shared.runtime.devices import REPLACED_SCOPES
from tests.orders.reading import Recorded, types_of
from tests.orders.till.device import Answer, Enrol, Till, words

Builder = Callable[..., dict[str, Any]]
Deliver = Callable[..., list[UUID]]
ReadEntry = Callable[[UUID], TillEntry]
Ask = Callable[[str], Any]
Token = Callable[..., dict[str, str]]
InThreads = Callable[..., list[Any]]
LIMITS = Limits(900, Allowance(20, 2_000_000), Allowance(1_000, 20_000_000))
pytestmark = pytest.mark.usefixtures("station_price")


# --- Once -----------------------------------------------------------------------------------------


def test_a_sale_is_accepted_kept_and_told(
    till: Till, an_entry: Builder, recorded_events: Recorded, read_entry: ReadEntry, ask: Ask
) -> None:
    sale = an_entry("sale", 1)

    (answer,) = till.upload(sale)

    assert answer == {"index": 0, "number": 1, "status": "accepted", "reason": None, "detail": None}
    kept = read_entry(till.id_of(1))
    assert (kept.status, kept.flags, kept.body) == ("accepted", [], sale)
    ((type_, told),) = recorded_events()
    assert type_ == "orders.station_sale_recorded.v1"
    line = sale["lines"][0]
    assert told == {
        "sale_id": str(till.id_of(1)),
        "kind": "sale",
        "device_id": str(till.device.device_id),
        "epoch": 1,
        "number": 1,
        "site_id": str(till.device.site_id),
        "of_sale_id": None,
        "lines": [
            {
                "line_no": 1,
                "variant_id": line["variant_id"],
                "lot_id": line["lot_id"],
                "quantity": 1000,
                "line_total_fen": 13_600,
                "restock": None,
            }
        ],
        "total_fen": 13_600,
        "payment": "cash",
        "device_time": "2026-11-25T08:30:00+00:00",
    }
    assert ask("cash/custody")["items"][0]["held_fen"] == 13_600


def test_a_sale_uploaded_again_after_a_time_out_is_one_sale(
    till: Till, an_entry: Builder, recorded_events: Recorded, ask: Ask
) -> None:
    """The answer was lost, the till sends all of it again, and more with it.

    Reported in BrainWise-DEV/POSNext#50, #97; odoo/odoo#152259; frappe/erpnext#11000, #11230.
    """
    till.upload(an_entry("sale", 1), an_entry("sale", 2))

    answers = till.upload(an_entry("sale", 1), an_entry("sale", 2), an_entry("sale", 3))

    assert words(answers) == ["duplicate", "duplicate", "accepted"]
    assert [told["number"] for _, told in recorded_events()] == [1, 2, 3]
    assert ask("cash/custody")["items"][0]["held_fen"] == 3 * 13_600


def test_an_entry_that_is_twice_in_one_upload_counts_once(
    till: Till, an_entry: Builder, recorded_events: Recorded
) -> None:
    answers = till.upload(an_entry("sale", 1), an_entry("sale", 1))

    assert words(answers) == ["accepted", "duplicate"]
    assert len(recorded_events()) == 1


def test_two_tabs_that_upload_at_once_make_each_sale_once(
    till: Till, an_entry: Builder, recorded_events: Recorded, in_threads: InThreads, ask: Ask
) -> None:
    """Reported in BrainWise-DEV/POSNext#50, #97; odoo/odoo#152259; itpp-labs/pos-addons#864."""
    entries = [an_entry("sale", number) for number in range(1, 21)]

    def tab(seed: int) -> Callable[[], list[Answer]]:
        mixed = random.Random(seed).sample(entries, len(entries))
        return lambda: till.upload(*mixed[:12]) + till.upload(*mixed[8:])

    answers = in_threads([tab(seed) for seed in range(4)])

    every = Counter(answer["status"] for tab_answers in answers for answer in tab_answers)
    assert every == {"accepted": 20, "duplicate": 4 * 24 - 20}
    assert sorted(told["number"] for _, told in recorded_events()) == list(range(1, 21))
    assert ask("cash/custody")["items"][0]["held_fen"] == 20 * 13_600


def test_an_upload_that_dies_before_its_commit_leaves_nothing_and_can_be_repeated(
    till: Till, an_entry: Builder, database: Database, recorded_events: Recorded
) -> None:
    entries = [rules.parse_entry(an_entry("sale", number)) for number in (1, 2)]

    with pytest.raises(RuntimeError), transaction(database, OrdersBatch) as batch:
        upload(batch, till.device, entries, LIMITS)
        raise RuntimeError("the power went off")

    assert recorded_events() == []
    assert till.attention()["highest"] == 0
    assert words(till.upload(an_entry("sale", 1), an_entry("sale", 2))) == ["accepted"] * 2
    assert len(recorded_events()) == 2


def test_two_epochs_and_two_devices_may_use_the_same_number(
    enrol: Enrol, an_entry: Builder, recorded_events: Recorded
) -> None:
    """Names of two devices never collide, nor do those before and after a device was replaced.

    Reported in OCA/l10n-spain#4921.
    """
    first = enrol()
    replaced = enrol(first.device.device_id, epoch=2)
    other = enrol()

    answers = [each.upload(an_entry("sale", 1)) for each in (first, replaced, other)]

    assert [words(answer) for answer in answers] == [["accepted"]] * 3
    assert len({told["sale_id"] for _, told in recorded_events()}) == 3


def test_the_statements_of_an_upload_do_not_grow_with_its_sales(
    till: Till,
    an_entry: Builder,
    client: FlaskClient,
    count_statements: Callable[[], AbstractContextManager[list[str]]],
    database: Database,
) -> None:
    def needed(numbers: range) -> int:
        entries = [rules.parse_entry(an_entry("sale", number)) for number in numbers]
        with count_statements() as statements, transaction(database, OrdersBatch) as batch:
            upload(batch, till.device, entries, LIMITS)
        return len(statements)

    few = needed(range(1, 3))

    assert needed(range(3, 303)) == few < 15


# --- Each by itself -------------------------------------------------------------------------------


def test_one_bad_entry_stops_none_of_the_others(
    till: Till, an_entry: Builder, recorded_events: Recorded
) -> None:
    """Reported in BrainWise-DEV/POSNext#50; odoo/odoo#152259; frappe/erpnext#11000, #11230."""
    bad = an_entry("sale", 2, payment="gold")

    answers = till.upload(an_entry("sale", 1), bad, None, {"kind": "sale"}, an_entry("sale", 3))

    assert words(answers) == [
        "accepted",
        "disputed unreadable",
        "refused no_number",
        "refused no_number",
        "accepted",
    ]
    assert [answer["number"] for answer in answers] == [1, 2, None, None, 3]
    assert "payment: Invalid enum value 'gold'." in answers[1]["detail"]
    assert types_of(recorded_events()) == [
        "station_sale_recorded",
        "station_sale_disputed",
        "station_sale_recorded",
    ]


def test_what_is_unreadable_is_kept_as_it_came_but_for_what_concerns_a_buyer(
    till: Till, an_entry: Builder, read_entry: ReadEntry, recorded_events: Recorded
) -> None:
    order = an_entry("order", 1)
    order["order"]["lines"] = "all of it\x00"

    answers = till.upload(order)
    again = till.upload(order)

    assert words(answers) == ["disputed unreadable"]
    assert words(again) == ["duplicate unreadable"]
    kept = read_entry(till.id_of(1)).body
    assert kept["order"]["lines"] == "all of it"
    assert "卓玛" not in json.dumps(kept, ensure_ascii=False)
    assert "8000" not in json.dumps(kept)
    assert recorded_events() == []  # it is no sale


def test_other_content_under_a_known_name_is_kept_beside_it_and_disputed(
    till: Till, an_entry: Builder, recorded_events: Recorded, ask: Ask
) -> None:
    """A device restored from a backup sells again under numbers it has used."""
    till.upload(an_entry("sale", 1))
    second, third = an_entry("sale", 1, clerk="扎西"), an_entry("sale", 1, payment="mobile")

    answers = till.upload(second, an_entry("sale", 1), third, second)

    assert words(answers) == [
        "disputed other_content",
        "duplicate",
        "disputed other_content",
        "duplicate other_content",
    ]
    entries = ask("station-sales")["items"]
    assert [(entry["copy"], entry["status"]) for entry in entries] == [
        (3, "disputed"),
        (2, "disputed"),
        (1, "accepted"),
    ]
    assert len({entry["sale_id"] for entry in entries}) == 3
    _, disputed, other = recorded_events()
    assert disputed[0] == other[0] == "orders.station_sale_disputed.v1"
    assert disputed[1]["sale_id"] == entries[1]["sale_id"]
    assert disputed[1]["lines"][0]["quantity"] == 1000
    # Both buyers paid: the cash of both is there.
    held = {each["clerk"]: each["held_fen"] for each in ask("cash/custody")["items"]}
    assert held == {"卓嘎": 13_600, "扎西": 13_600}


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"format": 2}, 422),
        ({"entries": []}, 422),
        ({"entries": {}}, 422),
        ({"entries": [{}] * 501}, 422),
        ({"more": 1}, 422),
        ({"entries": [None] * 500}, 200),
    ],
)
def test_an_upload_itself_has_to_be_one(till: Till, changes: dict[str, Any], status: int) -> None:
    assert till.send(**changes).status_code == status


# --- Who may --------------------------------------------------------------------------------------


def test_the_key_of_a_replaced_epoch_still_brings_its_late_sales(
    enrol: Enrol, an_entry: Builder, client: FlaskClient
) -> None:
    old = enrol(scopes=REPLACED_SCOPES)

    assert words(old.upload(an_entry("sale", 1))) == ["accepted"]
    attention = client.get("/api/orders/v1/till/attention", headers=old.headers)
    assert attention.status_code == 403


def test_a_revoked_key_brings_nothing(
    till: Till, an_entry: Builder, deliver: Deliver, database: Database
) -> None:
    with database.readers() as reader:
        key_id, digest = reader.execute(text("SELECT id, digest FROM api_keys")).one()
    device = till.device
    deliver(
        DeviceKeyGiven,
        device_id=device.device_id,
        device_code=device.device_code,
        site_id=device.site_id,
        epoch=device.epoch,
        key_id=UUID(str(key_id)),
        digest=digest,
        scopes=[],
    )

    answer = till.send(entries=[an_entry("sale", 1)])

    assert (answer.status_code, answer.json["type"]) == (401, "/problems/invalid-token")
    assert answer.json["revoked"] is True


def test_a_person_uploads_nothing(client: FlaskClient, token: Token) -> None:
    body = {"format": 1, "entries": [{}]}
    headers = token("till:upload", "till")

    answer = client.post("/api/orders/v1/till/entries", json=body, headers=headers)

    assert (answer.status_code, answer.json["type"]) == (403, "/problems/not-a-device")


# --- Holes ----------------------------------------------------------------------------------------


def test_a_till_learns_what_has_not_come(till: Till, an_entry: Builder) -> None:
    nothing = till.attention()
    till.upload(an_entry("sale", 3), an_entry("sale", 300))

    told = till.attention()

    assert (nothing["highest"], nothing["holes"]) == (0, [])
    assert (told["device_id"], told["epoch"]) == (str(till.device.device_id), 1)
    assert told["highest"] == 300
    assert told["holes"] == [1, 2, *range(4, 102)]
