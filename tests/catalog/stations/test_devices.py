"""Devices of stations: registered, enrolled by a one-time code, replaced, revoked, watched."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from services.catalog.models import Enrolment
from shared.events import SiteClosed
from shared.runtime import api_keys, clock
from shared.runtime.database import Database
from shared.runtime.ids import new_id

Recorded = Callable[[], list[tuple[str, dict[str, Any]]]]
KEY_GIVEN = "catalog.device_key_given.v1"


def kind_of(answer: Any) -> str:
    """Return the last part of a problem's type."""
    return str(answer.json["type"]).rpartition("/")[2]


def register(operate: Any, shop: Any, **changes: Any) -> Any:
    return operate("/devices", {"site_id": str(shop.station), "name": "柜台一"} | changes)


def show_code(client: FlaskClient, code: str, secret: str | None = None) -> Any:
    body = {"code": code, "secret": secret or api_keys.new_secret()}
    return client.post("/api/catalog/v1/till/enrol", json=body)


# --- A code is given and used -----------------------------------------------------------------


def test_a_device_is_named_by_its_site_and_a_number(shop: Any, operate: Any, look: Any) -> None:
    first, second = register(operate, shop), register(operate, shop, name="柜台二")
    elsewhere = register(operate, shop, site_id=str(shop.county))

    codes = [answer.json["code"] for answer in (first, second, elsewhere)]
    assert codes == ["540421103-1", "540421103-2", "540421-1"]
    shown = look(f"/devices/{second.json['device_id']}")
    assert (shown["name"], shown["status"], shown["epoch"]) == ("柜台二", "new", 0)
    assert shown["lease_over"] is True
    assert [each["code"] for each in look("/devices", site_id=shop.county)["items"]] == ["540421-1"]


def test_a_device_stands_at_no_closed_and_at_no_unknown_site(
    shop: Any, operate: Any, deliver: Any
) -> None:
    deliver(SiteClosed, site_id=shop.station)

    assert kind_of(register(operate, shop)) == "location-closed"
    assert kind_of(register(operate, shop, site_id=str(new_id()))) == "unknown-location"


def test_a_machine_that_shows_the_code_becomes_the_device(
    shop: Any, operate: Any, look: Any, client: FlaskClient, recorded_events: Recorded
) -> None:
    invited = register(operate, shop).json
    secret = api_keys.new_secret()

    answer = show_code(client, invited["enrolment_code"], secret)

    enrolled = answer.json
    assert (answer.status_code, enrolled["epoch"]) == (200, 1)
    assert enrolled["device_code"] == "540421103-1"
    assert enrolled["site"]["code"] == "540421103"
    assert look(f"/devices/{invited['device_id']}")["status"] == "active"
    given = dict(recorded_events())[KEY_GIVEN]
    assert given["epoch"] == 1
    assert given["digest"] == api_keys.digest_of(secret)
    assert given["scopes"] == ["till", "till:upload"]
    assert secret not in str(recorded_events())


def test_an_enrolment_code_is_readable_nowhere_in_what_is_stored(
    shop: Any, operate: Any, stored: Callable[[], str]
) -> None:
    invited = register(operate, shop).json
    again = operate(f"/devices/{invited['device_id']}/enrolment", {})
    assert again.status_code == 200, again.json

    everything = stored()

    assert invited["device_id"] in everything or invited["code"] in everything
    for code in (invited["enrolment_code"], again.json["enrolment_code"]):
        assert code not in everything


@pytest.mark.parametrize(
    "write",
    [str.lower, lambda code: code.replace("-", ""), lambda code: f" {code[:3]} {code[3:]} "],
)
def test_a_code_counts_however_it_is_typed(
    shop: Any, operate: Any, client: FlaskClient, write: Callable[[str], str]
) -> None:
    code = register(operate, shop).json["enrolment_code"]

    assert show_code(client, write(code)).status_code == 200


def test_a_lost_answer_to_an_enrolment_costs_nothing(
    shop: Any, operate: Any, client: FlaskClient, recorded_events: Recorded
) -> None:
    code, secret = register(operate, shop).json["enrolment_code"], api_keys.new_secret()
    first = show_code(client, code, secret).json
    before = recorded_events()

    again = show_code(client, code, secret).json

    assert {**again, "server_time": 0} == {**first, "server_time": 0}
    assert recorded_events() == before


def test_a_code_serves_one_machine(shop: Any, operate: Any, client: FlaskClient) -> None:
    code = register(operate, shop).json["enrolment_code"]
    show_code(client, code)

    other = show_code(client, code)

    assert (other.status_code, kind_of(other)) == (409, "enrolment-code-used")


def test_two_machines_that_show_one_code_at_once_get_one_epoch(
    shop: Any,
    operate: Any,
    look: Any,
    in_threads: Any,
    client: FlaskClient,
) -> None:
    invited = register(operate, shop).json
    calls = [
        lambda: show_code(client.application.test_client(), invited["enrolment_code"])
        for _ in range(4)
    ]

    answers = in_threads(calls)

    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    assert look(f"/devices/{invited['device_id']}")["epoch"] == 1


def test_an_unknown_code_is_unknown(shop: Any, client: FlaskClient) -> None:
    answer = show_code(client, "AAAAA-BBBBB")

    assert (answer.status_code, kind_of(answer)) == (404, "unknown-enrolment-code")


def test_a_code_is_over_after_a_day(
    shop: Any, operate: Any, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = register(operate, shop).json["enrolment_code"]
    later = clock.now() + timedelta(hours=24)
    monkeypatch.setattr(clock, "now", lambda: later)

    answer = show_code(client, code)

    assert (answer.status_code, kind_of(answer)) == (409, "enrolment-code-expired")


def test_a_new_code_ends_those_that_were_not_used(
    shop: Any, operate: Any, client: FlaskClient
) -> None:
    invited = register(operate, shop).json
    newer = operate(f"/devices/{invited['device_id']}/enrolment").json

    old, new = (show_code(client, each["enrolment_code"]) for each in (invited, newer))

    assert (kind_of(old), new.status_code) == ("enrolment-code-expired", 200)


def test_a_code_is_not_kept(shop: Any, operate: Any, database: Database) -> None:
    code = register(operate, shop).json["enrolment_code"]

    with database.readers() as reader:
        kept = reader.scalars(select(Enrolment)).one()
    assert kept.digest == api_keys.digest_of(code.replace("-", ""))


@pytest.mark.parametrize("secret", ["short", "x" * 42, "x" * 44, "x" * 42 + "\n", "ü" * 43])
def test_a_secret_that_is_no_32_bytes_is_refused(
    shop: Any, operate: Any, client: FlaskClient, secret: str
) -> None:
    code = register(operate, shop).json["enrolment_code"]

    assert show_code(client, code, secret).status_code == 422


# --- Replaced and revoked ---------------------------------------------------------------------


def test_a_replaced_machine_may_only_upload_what_it_had_sold(
    shop: Any, till: Any, enrol: Any, recorded_events: Recorded
) -> None:
    newer = enrol(device_id=till.device_id)

    refused, welcome = till.contact(), newer.contact()

    assert (newer.epoch, welcome.status_code) == (2, 200)
    assert (refused.status_code, kind_of(refused)) == (403, "missing-scope")
    scopes = [data["scopes"] for kind, data in recorded_events() if kind == KEY_GIVEN]
    assert scopes == [["till", "till:upload"], ["till:upload"], ["till", "till:upload"]]


def test_what_a_replaced_machine_held_stays_frozen(
    shop: Any, till: Any, enrol: Any, grant: Any, look: Any, operate: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    old = grant(till, lot, 400)
    newer = enrol(device_id=till.device_id)

    grant(newer, lot, 100)

    rows = look(f"/devices/{till.device_id}")["allotments"]
    assert [(row["epoch"], row["remaining"]) for row in rows] == [(2, 100), (1, 400)]
    assert shop.level(lot, shop.station) == {"allotted": 500}
    assert [a["lot_id"] for a in newer.contact().json["allotments"]] == [str(lot)]
    counted = operate(
        f"/allotments/{old['allotment_id']}/write-off", {"counted": 400, "reason": "清点"}
    )
    assert counted.json["status"] == "closed"
    assert shop.level(lot, shop.station) == {"available": 400, "allotted": 100}


def test_a_code_that_is_made_and_not_used_changes_nothing(
    shop: Any, till: Any, operate: Any
) -> None:
    operate(f"/devices/{till.device_id}/enrolment")

    assert till.contact().status_code == 200


def test_a_revoked_device_is_heard_no_more_and_says_who_did_it(
    shop: Any, till: Any, operate: Any, look: Any, recorded_events: Recorded
) -> None:
    answers = [operate(f"/devices/{till.device_id}/revoke", {"reason": "被盗"}) for _ in range(2)]

    assert [answer.json["status"] for answer in answers] == ["revoked", "revoked"]
    assert till.contact().status_code == 401
    shown = look(f"/devices/{till.device_id}")
    assert (shown["revoked_by"], shown["revoked_reason"]) == ("operator", "被盗")
    given = [facts["scopes"] for kind, facts in recorded_events() if kind == KEY_GIVEN]
    assert given == [["till", "till:upload"], []]


def test_revoking_ends_all_epochs_and_unused_codes(
    shop: Any, till: Any, enrol: Any, operate: Any, client: FlaskClient, recorded_events: Recorded
) -> None:
    enrol(device_id=till.device_id)
    code = operate(f"/devices/{till.device_id}/enrolment").json["enrolment_code"]

    operate(f"/devices/{till.device_id}/revoke", {})

    assert kind_of(show_code(client, code)) == "enrolment-code-expired"
    last: dict[int, list[str]] = {}
    for kind, data in recorded_events():
        if kind == KEY_GIVEN:
            last[data["epoch"]] = data["scopes"]
    assert last == {1: [], 2: []}


def test_another_machine_may_take_the_place_of_a_revoked_one(
    shop: Any, till: Any, enrol: Any, operate: Any, look: Any
) -> None:
    operate(f"/devices/{till.device_id}/revoke", {})

    newer = enrol(device_id=till.device_id)

    assert newer.contact().status_code == 200
    assert till.contact().status_code == 401
    epochs = look(f"/devices/{till.device_id}")["epochs"]
    assert [each["scopes"] for each in epochs] == [[], ["till", "till:upload"]]


def test_a_device_that_does_not_exist_is_not_found(shop: Any, operate: Any) -> None:
    for path in ("enrolment", "revoke"):
        answer = operate(f"/devices/{new_id()}/{path}", {} if path == "revoke" else None)

        assert (answer.status_code, kind_of(answer)) == (404, "device-not-found")


# --- Seen by an operator ----------------------------------------------------------------------


def test_an_operator_sees_what_a_device_last_said(shop: Any, till: Any, look: Any) -> None:
    late = clock.now() + timedelta(minutes=10)
    oldest = clock.now() - timedelta(days=2)

    till.contact(
        unsynced=7,
        oldest_unsynced_at=clock.rfc3339(oldest),
        last_number=31,
        device_time=clock.rfc3339(late),
        app_version="1.4",
    )

    shown = look(f"/devices/{till.device_id}")
    assert (shown["unsynced"], shown["last_number"], shown["app_version"]) == (7, 31, "1.4")
    assert shown["oldest_unsynced_at"] == oldest.isoformat()
    assert 590 <= shown["clock_offset_seconds"] <= 600
    assert shown["lease_over"] is False


def test_who_may_not_read_about_stations_sees_nothing(
    shop: Any, till: Any, get: Any, post: Any
) -> None:
    assert get("/devices").status_code == 403
    assert get(f"/devices/{till.device_id}").status_code == 403
    assert post("/devices", {"site_id": str(shop.station), "name": "x"}).status_code == 403


def test_a_till_may_not_do_what_operators_do(shop: Any, till: Any) -> None:
    answer = till.client.get("/api/catalog/v1/devices", headers=till.headers)

    assert (answer.status_code, kind_of(answer)) == (403, "missing-scope")


def test_an_operator_is_no_till(shop: Any, client: FlaskClient, token: Any) -> None:
    said = {
        "seen_revision": 0,
        "unsynced": 0,
        "last_number": 0,
        "device_time": clock.rfc3339(clock.now()),
        "app_version": "x",
    }

    answer = client.post("/api/catalog/v1/till/contact", json=said, headers=token("till"))

    assert (answer.status_code, kind_of(answer)) == (403, "not-a-device")


def test_a_key_with_another_secret_counts_for_nothing(shop: Any, till: Any) -> None:
    key_id = till.headers["Authorization"].split("_")[1]
    forged = api_keys.token_of(UUID(key_id), api_keys.new_secret())
    till.headers = {"Authorization": f"Bearer {forged}"}

    assert till.contact().status_code == 401
