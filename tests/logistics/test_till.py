"""A station's till learns which parcels wait, and tells later what it did with them."""

import hashlib
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from services.logistics.batch import LogisticsBatch
from services.logistics.models import CollectionCode, ProofOfDelivery, Shipment, ShipmentLine
from services.logistics.rules import CODE_TRIES, ShipmentState
from services.logistics.use_cases import hand_over
from shared.events import (
    DeviceKeyGiven,
    LotHeld,
    LotRecalled,
    OrderCancelled,
    ParcelHandedOver,
)
from shared.messaging.batch import transaction
from shared.runtime import api_keys, clock, devices
from shared.runtime.database import Database
from shared.runtime.ids import new_id

Deliver = Callable[..., list[UUID]]
Facts = dict[str, Any]
Recorded = Callable[[], list[tuple[str, Facts]]]
Waiting = Callable[..., tuple[UUID, str]]

PARCELS = "/api/logistics/v1/till/parcels"
SECRET = "s" * 43


def another(code: str) -> str:
    """A code that is not this one."""
    return f"{(int(code) + 1) % 1_000_000:06d}"


@pytest.fixture
def hand_out(deliver: Deliver, sites: dict[str, UUID]) -> Callable[..., UUID]:
    """Let a till of the township say that it gave a parcel away; returns the entry's id."""

    def say(shipment_id: UUID, **changes: Any) -> UUID:
        facts: Facts = {
            "entry_id": new_id(),
            "shipment_id": shipment_id,
            "site_id": sites["T"],
            "device_code": "T-1",
            "code": None,
            "received_by": None,
            "collected_fen": 13600,
            "difference_reason": None,
            "device_time": clock.now(),
        } | changes
        deliver(ParcelHandedOver, **facts)
        entry_id: UUID = facts["entry_id"]
        return entry_id

    return say


@pytest.fixture
def key(deliver: Deliver, sites: dict[str, UUID]) -> Callable[..., dict[str, str]]:
    """Give a device at a site a key; returns the header that it sends."""

    def give(
        *scopes: str, site: str = "T", key_id: UUID | None = None, **changes: Any
    ) -> dict[str, str]:
        key_id = key_id or new_id()
        facts: Facts = {
            "device_id": new_id(),
            "device_code": f"{site}-1",
            "site_id": sites[site],
            "epoch": 1,
            "key_id": key_id,
            "digest": api_keys.digest_of(SECRET),
            "scopes": list(scopes),
        } | changes
        deliver(DeviceKeyGiven, **facts)
        return {"Authorization": f"Bearer {api_keys.token_of(key_id, SECRET)}"}

    return give


def the_shipment(database: Database, shipment_id: UUID) -> Shipment:
    with database.readers() as reader:
        return reader.get_one(Shipment, shipment_id)


def refusals(recorded_events: Recorded) -> list[tuple[str, str]]:
    """Entry and reason of each refusal so far."""
    return [
        (data["entry_id"], data["reason"])
        for type_, data in recorded_events()
        if type_ == "logistics.hand_over_refused.v1"
    ]


def test_a_parcel_given_away_for_its_code_is_collected(
    database: Database, waiting: Waiting, hand_out: Callable[..., UUID], recorded_events: Recorded
) -> None:
    shipment_id, code = waiting()

    entry_id = hand_out(shipment_id, code=code)

    assert the_shipment(database, shipment_id).state == ShipmentState.COLLECTED
    with database.readers() as reader:
        proof = reader.get_one(ProofOfDelivery, shipment_id)
        assert (proof.kind, proof.handed_over_by, proof.entry_id) == (
            "code",
            "device/T-1",
            entry_id,
        )
        assert reader.scalars(select(CollectionCode)).all() == []
    type_, fact = recorded_events()[-1]
    assert type_ == "logistics.shipment_collected.v1"
    assert fact["collected_fen"] == 13600


def test_a_parcel_given_away_by_name_is_collected(
    database: Database, waiting: Waiting, hand_out: Callable[..., UUID]
) -> None:
    shipment_id, _ = waiting()

    hand_out(shipment_id, received_by="扎西" * 80, collected_fen=0, difference_reason="torn " * 60)

    with database.readers() as reader:
        proof = reader.get_one(ProofOfDelivery, shipment_id)
        assert (proof.kind, proof.received_by, proof.collected_fen) == ("name", "扎西" * 50, 0)


def test_the_same_entry_again_changes_nothing(
    waiting: Waiting, hand_out: Callable[..., UUID], recorded_events: Recorded
) -> None:
    shipment_id, code = waiting()
    entry_id = hand_out(shipment_id, code=code)
    before = recorded_events()

    hand_out(shipment_id, code=code, entry_id=entry_id)

    assert recorded_events() == before


def test_a_wrong_code_is_refused_by_a_fact_and_counts_as_a_try(
    database: Database,
    waiting: Waiting,
    hand_out: Callable[..., UUID],
    recorded_events: Recorded,
    parked: Callable[[], list[Any]],
) -> None:
    shipment_id, code = waiting()

    entry_id = hand_out(shipment_id, code=another(code))

    assert refusals(recorded_events) == [(str(entry_id), "wrong-code")]
    assert parked() == []
    with database.readers() as reader:
        assert reader.get_one(CollectionCode, shipment_id).wrong_tries == 1
    assert the_shipment(database, shipment_id).state == ShipmentState.HANDED_OVER


def test_after_too_many_wrong_codes_even_the_right_one_is_refused(
    waiting: Waiting, hand_out: Callable[..., UUID], recorded_events: Recorded
) -> None:
    shipment_id, code = waiting()
    for _ in range(CODE_TRIES):
        hand_out(shipment_id, code=another(code))

    hand_out(shipment_id, code=code)

    assert [reason for _, reason in refusals(recorded_events)] == [
        *["wrong-code"] * CODE_TRIES,
        "code-locked",
    ]


def test_a_parcel_that_somebody_had_before_is_refused(
    database: Database, waiting: Waiting, hand_out: Callable[..., UUID], recorded_events: Recorded
) -> None:
    shipment_id, code = waiting()
    with transaction(database, LogisticsBatch) as batch:
        hand_over.collect(
            batch,
            shipment_id,
            code=code,
            received_by=None,
            collected_fen=13600,
            difference_reason=None,
            by="clerk-1",
        )

    entry_id = hand_out(shipment_id, code=code)

    assert refusals(recorded_events) == [(str(entry_id), "collected-before")]


def test_what_cannot_be_given_away_is_refused_and_never_parked(
    deliver: Deliver,
    sites: dict[str, UUID],
    planned: Callable[..., UUID],
    waiting: Waiting,
    hand_out: Callable[..., UUID],
    recorded_events: Recorded,
    parked: Callable[[], list[Any]],
) -> None:
    cancelled = new_id()
    called_back, code = waiting(order_id=cancelled)
    deliver(OrderCancelled, order_id=cancelled, order_ref="ORD-7KQ2M9XH", reason="changed_mind")
    elsewhere, its_code = waiting(site_id=sites["V"])
    here, _ = waiting()

    hand_out(planned(collect=True), received_by="Tashi")
    hand_out(planned(), received_by="Tashi")
    hand_out(called_back, code=code)
    hand_out(elsewhere, code=its_code)
    hand_out(here)
    hand_out(here, received_by="Tashi", collected_fen=1)

    assert [reason for _, reason in refusals(recorded_events)] == [
        "wrong-shipment-state",
        "wrong-hand-over",
        "wrong-shipment-state",
        "at-another-site",
        "no-proof",
        "wrong-amount",
    ]
    assert parked() == []


def test_a_parcel_that_nobody_planned_is_refused_each_time(
    hand_out: Callable[..., UUID],
    recorded_events: Recorded,
    parked: Callable[[], list[Any]],
) -> None:
    shipment_id = new_id()

    entries = [hand_out(shipment_id, code="000000") for _ in range(2)]

    assert refusals(recorded_events) == [(str(e), "unplanned-shipment") for e in entries]
    assert parked() == []


def test_one_bad_entry_of_a_batch_keeps_no_other_waiting(
    database: Database,
    deliver: Deliver,
    sites: dict[str, UUID],
    waiting: Waiting,
    recorded_events: Recorded,
) -> None:
    parcels = [waiting() for _ in range(3)]
    facts = [
        {
            "entry_id": new_id(),
            "shipment_id": shipment_id,
            "site_id": sites["T"],
            "device_code": "T-1",
            "code": code if index != 1 else another(code),
            "received_by": None,
            "collected_fen": 13600,
            "difference_reason": None,
            "device_time": clock.now(),
        }
        for index, (shipment_id, code) in enumerate(parcels)
    ]

    deliver(ParcelHandedOver, _many=facts)

    states = [the_shipment(database, shipment_id).state for shipment_id, _ in parcels]
    assert states == ["collected", "handed_over", "collected"]
    assert len(refusals(recorded_events)) == 1


def test_a_till_sees_what_waits_at_its_own_site_and_can_check_the_code_itself(
    client: FlaskClient,
    sites: dict[str, UUID],
    key: Callable[..., dict[str, str]],
    waiting: Waiting,
    planned: Callable[..., UUID],
    hand_out: Callable[..., UUID],
) -> None:
    gone, its_code = waiting()
    hand_out(gone, code=its_code)
    shipment_id, code = waiting()
    waiting(site_id=sites["V"])
    planned(collect=True)

    answer = client.get(PARCELS, headers=key(*devices.PRESENT_SCOPES))

    assert answer.status_code == 200
    [parcel] = answer.json["items"]
    assert parcel["shipment_id"] == str(shipment_id)
    assert (parcel["due_fen"], parcel["code_locked"]) == (13600, False)
    salted = bytes.fromhex(parcel["code_salt"]) + code.encode()
    assert hashlib.sha256(salted).hexdigest() == parcel["code_digest"]


@pytest.mark.parametrize(("stop", "word"), [(LotHeld, "held"), (LotRecalled, "recalled")])
def test_a_till_is_told_which_parcels_it_must_not_hand_out(
    client: FlaskClient,
    database: Database,
    deliver: Deliver,
    key: Callable[..., dict[str, str]],
    waiting: Waiting,
    stop: Any,
    word: str,
) -> None:
    good, _ = waiting()
    bad, _ = waiting()
    with database.readers() as reader:
        lines = select(ShipmentLine).where(ShipmentLine.shipment_id == bad)
        line = reader.scalars(lines.order_by(ShipmentLine.lot_code)).first()
    assert line is not None

    deliver(stop, lot_id=line.lot_id, reason="residue")

    answer = client.get(PARCELS, headers=key(*devices.PRESENT_SCOPES)).json
    assert [parcel["shipment_id"] for parcel in answer["items"]] == [str(good)]
    (stopped,) = answer["stopped"]
    assert stopped["shipment_id"] == str(bad)
    assert (stopped["stopped"], stopped["lots"]) == (word, ["L-1"])


def test_a_till_is_told_when_a_code_is_locked(
    client: FlaskClient,
    key: Callable[..., dict[str, str]],
    waiting: Waiting,
    hand_out: Callable[..., UUID],
) -> None:
    shipment_id, code = waiting()
    for _ in range(CODE_TRIES):
        hand_out(shipment_id, code=another(code))

    [parcel] = client.get(PARCELS, headers=key(devices.TILL)).json["items"]

    assert parcel["code_locked"] is True


def test_only_a_device_of_the_present_epoch_sees_parcels(
    client: FlaskClient,
    token: Callable[..., dict[str, str]],
    key: Callable[..., dict[str, str]],
) -> None:
    person = client.get(PARCELS, headers=token("till"))
    replaced = client.get(PARCELS, headers=key(*devices.REPLACED_SCOPES))
    revoked = client.get(PARCELS, headers=key())

    assert (person.status_code, person.json["type"]) == (403, "/problems/not-a-device")
    assert replaced.status_code == 403
    assert revoked.status_code == 401


def test_an_older_word_about_a_key_changes_nothing(
    client: FlaskClient, key: Callable[..., dict[str, str]]
) -> None:
    key_id, device_id = new_id(), new_id()
    key(key_id=key_id, device_id=device_id, _sequence=3)

    headers = key(devices.TILL, key_id=key_id, device_id=device_id, _sequence=2)

    assert client.get(PARCELS, headers=headers).status_code == 401
