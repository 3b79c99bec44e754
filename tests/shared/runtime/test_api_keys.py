"""A machine's key lets it in until it is revoked, and says which machine it is."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from flask.testing import FlaskClient

from shared.runtime import api_keys, devices
from shared.runtime.callers import Caller
from shared.runtime.database import Database
from shared.runtime.devices import Device, NotADevice

THINGS = "/api/things/v1/things"
CLAIMS = {
    "device_id": "0198d1f2-6a3b-7c4d-8e5f-0123456789ac",
    "epoch": "2",
    "site_id": "0198d1f2-6a3b-7c4d-8e5f-0123456789ad",
    "device_code": "540421103-1",
}


@pytest.fixture
def key(database: Database) -> Any:
    """Give, change or revoke a key; returns the header that its bearer sends."""
    key_id, secret = uuid4(), api_keys.new_secret()

    def note(*scopes: str, sequence: int = 1, secret_sent: str = secret) -> dict[str, str]:
        with database.sessions.begin() as session:
            api_keys.apply_key(
                session,
                key_id,
                subject="device/a/2",
                digest=api_keys.digest_of(secret),
                scopes=scopes,
                claims=CLAIMS,
                sequence=sequence,
            )
        return {"Authorization": f"Bearer {api_keys.token_of(key_id, secret_sent)}"}

    return note


def test_a_key_opens_what_its_scopes_say(client: FlaskClient, key: Any) -> None:
    headers = key("things:read")

    assert client.get(THINGS, headers=headers).status_code == 200


def test_a_key_without_the_routes_scope_is_refused(client: FlaskClient, key: Any) -> None:
    headers = key("till:upload")

    answer = client.get(THINGS, headers=headers)

    assert answer.status_code == 403
    assert answer.json["type"].endswith("missing-scope")


def test_a_revoked_key_is_told_so_at_once(client: FlaskClient, key: Any) -> None:
    headers = key("things:read")
    assert client.get(THINGS, headers=headers).status_code == 200

    key(sequence=2)

    answer = client.get(THINGS, headers=headers)
    assert answer.status_code == 401
    assert answer.json["revoked"] is True


def test_an_older_saying_does_not_revive_a_revoked_key(client: FlaskClient, key: Any) -> None:
    headers = key(sequence=2)

    key("things:read", sequence=1)

    assert client.get(THINGS, headers=headers).status_code == 401


@pytest.mark.parametrize(
    "token",
    [
        "fgk_",
        "fgk_zz",
        f"fgk_{'0' * 32}_{'A' * 43}",
        f"fgk_{'0' * 32}_{'A' * 42}é",
        f"fgk_{'0' * 32}_{'A' * 43}_more",
    ],
)
def test_what_is_no_key_of_ours_is_refused(client: FlaskClient, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}".encode()}

    assert client.get(THINGS, headers=headers).status_code == 401  # type: ignore[arg-type]


def test_a_key_with_another_secret_is_refused(client: FlaskClient, key: Any) -> None:
    headers = key("things:read", secret_sent=api_keys.new_secret())

    assert client.get(THINGS, headers=headers).status_code == 401


def test_secrets_differ_and_are_stored_as_digests() -> None:
    first, second = api_keys.new_secret(), api_keys.new_secret()

    assert first != second
    assert len(first) == 43
    assert api_keys.digest_of(first) != first


def test_a_devices_claims_name_it() -> None:
    assert devices.device_of(Caller("device/a/2", frozenset(), CLAIMS)) == Device(
        UUID(CLAIMS["device_id"]), 2, UUID(CLAIMS["site_id"]), "540421103-1"
    )


def test_a_person_is_no_device() -> None:
    with pytest.raises(NotADevice):
        devices.device_of(Caller("operator", frozenset({"till"})))


def test_an_entry_has_the_same_id_whoever_names_it() -> None:
    device = uuid4()

    assert devices.entry_id(device, 1, 7) == devices.entry_id(device, 1, 7)
    assert (
        len({devices.entry_id(device, epoch, number) for epoch in (1, 2) for number in (1, 2)}) == 4
    )
