"""A clerk who belongs to a site reads of its devices and what they may sell, and of no others."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from flask.testing import FlaskClient

from shared.events import StationSaleRecorded

BASE = "/api/catalog/v1"


def test_a_clerk_reads_of_their_own_site_only(
    shop: Any,
    enrol: Any,
    grant: Any,
    deliver: Any,
    client: FlaskClient,
    token: Callable[..., dict[str, str]],
) -> None:
    till = enrol()
    lot = shop.add_lot("L-1", 1000)
    grant(till, lot, 200)
    # More than was granted.
    deliver(StationSaleRecorded, **till.a_sale((lot, 300)))

    def get(path: str, *sites: Any) -> Any:
        headers = token("stations:read", sites=sites)
        return client.get(f"{BASE}{path}", headers=headers)

    for path in ("/devices", "/allotments", "/overdrafts"):
        assert len(get(path, shop.station).json["items"]) == 1
        assert get(path, shop.centre).json["items"] == []
    one = f"/devices/{till.device_id}"
    assert get(one, shop.station).json["device_id"] == str(till.device_id)
    assert (get(one, uuid4()).status_code, get(one, uuid4()).json["type"]) == (
        404,
        "/problems/device-not-found",
    )


def test_what_is_of_all_sites_is_refused_to_who_belongs_to_one(
    shop: Any, client: FlaskClient, token: Callable[..., dict[str, str]]
) -> None:
    paths = ("/standing-rules", f"/lots/{shop.add_lot('L-1', 10)}/devices")
    headers = token("stations:read", sites=[shop.station])

    answers = [client.get(f"{BASE}{path}", headers=headers) for path in paths]

    assert [answer.json["type"] for answer in answers] == ["/problems/other-sites"] * 2
