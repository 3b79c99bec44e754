"""Who is handed a parcel at a site: by its code, or by a name."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from services.logistics.rules import CODE_TRIES
from tests.logistics.reading import Act, Recorded, facts


def test_a_buyer_collects_with_the_code_that_only_the_internal_event_tells(
    at_its_site: Callable[..., UUID], act: Act, recorded_events: Recorded
) -> None:
    shipment_id = at_its_site()
    type_, issued = recorded_events()[-1]

    collected = act(shipment_id, "collect", code=issued["code"], collected_fen=13600)

    assert type_ == "logistics.collection_code_issued.v1"
    assert (collected.status_code, collected.json["state"]) == (200, "collected")
    assert facts(recorded_events)[-1] == "shipment_collected"
    assert recorded_events()[-1][1]["proof"] == "code"


def test_wrong_codes_are_counted_and_then_only_a_name_helps(
    at_its_site: Callable[..., UUID], act: Act, recorded_events: Recorded
) -> None:
    shipment_id = at_its_site()
    code = recorded_events()[-1][1]["code"]
    wrong = f"{(int(code) + 1) % 1_000_000:06d}"

    tries = [
        act(shipment_id, "collect", code=wrong, collected_fen=13600) for _ in range(CODE_TRIES)
    ]
    locked = act(shipment_id, "collect", code=code, collected_fen=13600)
    by_name = act(shipment_id, "collect", received_by="Tashi", collected_fen=13600)

    assert [answer.status_code for answer in tries] == [422] * CODE_TRIES
    assert [answer.json["tries_left"] for answer in tries] == [4, 3, 2, 1, 0]
    assert (locked.status_code, locked.json["type"]) == (409, "/problems/code-locked")
    assert "received_by" in locked.json["detail"]
    assert by_name.status_code == 200
    assert recorded_events()[-1][1]["proof"] == "name"


@pytest.mark.parametrize("code", ["12345", "1234567", "12345a", "١٢٣٤٥٦", 123456])
def test_what_is_no_code_costs_no_try(
    at_its_site: Callable[..., UUID], act: Act, recorded_events: Recorded, code: Any
) -> None:
    shipment_id = at_its_site()
    issued = recorded_events()[-1][1]["code"]

    refused = act(shipment_id, "collect", code=code, collected_fen=13600)

    assert refused.status_code == 422
    assert "tries_left" not in refused.json
    assert act(shipment_id, "collect", code=issued, collected_fen=13600).status_code == 200


def test_a_collection_needs_a_code_or_a_name(at_its_site: Callable[..., UUID], act: Act) -> None:
    refused = act(at_its_site(), "collect", collected_fen=13600)

    assert (refused.status_code, refused.json["type"]) == (422, "/problems/no-proof")


def test_nothing_is_collected_before_it_arrived(on_its_way: Callable[..., UUID], act: Act) -> None:
    refused = act(on_its_way(collect=True), "collect", received_by="Tashi", collected_fen=13600)

    assert (refused.status_code, refused.json["type"]) == (409, "/problems/not-arrived")


@pytest.mark.parametrize(("collect", "action"), [(True, "deliver"), (False, "collect")])
def test_delivering_and_collecting_are_not_mixed_up(
    on_its_way: Callable[..., UUID], act: Act, collect: bool, action: str
) -> None:
    refused = act(on_its_way(collect=collect), action, received_by="Tashi", collected_fen=13600)

    assert (refused.status_code, refused.json["type"]) == (409, "/problems/wrong-hand-over")
