"""A fact is written once, as CloudEvents 1.0 in JSON, and read the same by everybody."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from shared.events import OrderPaid, ShipmentPacked
from shared.messaging.envelope import (
    LARGEST,
    Invalid,
    Unreadable,
    decode,
    encode,
    fact_of,
    load_data,
    other_version,
    subject_of,
    with_data,
)

ORDER = UUID("0198c7a2-7d4e-7cc0-8a4e-3a1f0e9b2c11")
PAID = OrderPaid(order_id=ORDER, order_ref="ORD-1", amount_fen=1, method="prepaid")
SAID = {"order_id": str(ORDER), "order_ref": "ORD-1", "amount_fen": 1, "method": "prepaid"}
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678, UTC)


def written(**changes: Any) -> bytes:
    attributes: dict[str, Any] = {
        "event_id": ORDER,
        "sequence": 7,
        "time": MOMENT,
        "correlation_id": "story",
        "causation_id": None,
        "traceparent": None,
    }
    return encode(PAID, **(attributes | changes))


def document(**changes: Any) -> bytes:
    """The event as JSON, some attributes changed; None removes one."""
    whole = json.loads(written()) | changes
    return json.dumps({name: value for name, value in whole.items() if value is not None}).encode()


def test_an_event_is_a_cloudevent() -> None:
    assert json.loads(written(causation_id="before", traceparent="00-1-2-00")) == {
        "specversion": "1.0",
        "id": str(ORDER),
        "source": f"/farmgate/orders/order/{ORDER}",
        "type": "orders.order_paid.v1",
        "subject": f"order/{ORDER}",
        "time": "2026-01-02T03:04:05.000678Z",
        "datacontenttype": "application/json",
        "dataschema": "urn:farmgate:events:orders.order_paid.v1",
        "sequence": "0000000007",
        "correlationid": "story",
        "causationid": "before",
        "traceparent": "00-1-2-00",
        "data": SAID,
    }


def test_what_is_read_is_what_was_written() -> None:
    event = load_data(decode(written()), OrderPaid)

    assert (event.event_id, event.sequence, event.time) == (ORDER, 7, MOMENT)
    assert (event.publisher, event.subject) == ("orders", f"order/{ORDER}")
    assert event.data == PAID
    assert event.body == written()


@given(
    sequence=st.integers(1, 9_999_999_999),
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=50),
    story=st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=255),
)
def test_any_number_and_any_text_come_back(sequence: int, text: str, story: str) -> None:
    body = encode(
        structs.replace(PAID, order_ref=text),
        event_id=ORDER,
        sequence=sequence,
        time=MOMENT,
        correlation_id=story,
        causation_id=story,
        traceparent=None,
    )

    event = decode(body)

    assert (event.sequence, event.correlation_id, event.causation_id) == (sequence, story, story)
    assert event.data["order_ref"] == text


def test_sequences_sort_as_text_in_their_order() -> None:
    texts = [json.loads(written(sequence=number))["sequence"] for number in (2, 10, 100)]

    assert texts == sorted(texts)


@pytest.mark.parametrize(
    "facts",
    [
        {name: value for name, value in SAID.items() if name != "amount_fen"},
        SAID | {"phone": "13912345678"},
    ],
    ids=["missing", "unknown"],
)
def test_a_fact_that_breaks_its_contract_is_not_made(facts: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"amount_fen|phone"):
        OrderPaid(**facts)


def test_a_fact_too_large_to_travel_is_not_written() -> None:
    with pytest.raises(ValueError, match=str(LARGEST)):
        written(correlation_id="x" * LARGEST)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b"\xff\xfe",
        b"[]",
        b"7",
        b"[" * 100_000,
        b"{}",
        document(specversion="0.3"),
        document(id=None),
        document(id="7"),
        document(id=7),
        document(type=None),
        document(type=7),
        document(subject=None),
        document(subject=[]),
        document(source=None),
        document(sequence=None),
        document(sequence="seven"),
        document(sequence="-1"),
        document(sequence=str(2**63)),
        document(time="2026-01-02T03:04:05"),
        document(subject="order/\0"),
        document(subject="order/\ud800"),
        document(subject=""),
        document(type="x" * 256),
        document(time=None),
        document(time="yesterday"),
        document(time="0001-01-01T00:00:00+14:00"),
        document(time="9999-12-31T23:59:59-14:00"),
        document(time="2200-01-01T00:00:00Z"),
        document(sequence=True),
        document(sequence=7.5),
        document(sequence=" 7"),
        document(sequence="1_0"),
        document(sequence="9" * 5000),
        written().replace(b'"0000000007"', b"1e400"),
        written().replace(b'"0000000007"', b"NaN"),
        written().replace(b'"sequence"', b'"sequence":"1","sequence"'),
        written().replace(b'"amount_fen":1', b'"amount_fen":1,"amount_fen":2'),
        written().replace(b'"amount_fen":1', b'"amount_fen":-Infinity'),
        written().replace(b'"amount_fen":1', b'"amount_fen":' + b"[" * 900 + b"]" * 900),
        written().replace(b'"amount_fen":1', b'"amount_fen":' + b"9" * 5000),
        document(time=7),
        document(data=None),
        document(data="text"),
        b" " * (LARGEST + 1),
    ],
    ids=lambda body: body[:20].decode(errors="replace") + f" {len(body)}",
)
def test_what_is_no_event_of_ours_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        decode(body)


def test_a_strange_story_is_no_reason_to_refuse_an_event() -> None:
    event = decode(document(correlationid={"a": "\0"}, causationid=7, traceparent="\0"))

    assert event.correlation_id == str(event.event_id)
    assert (event.causation_id, event.traceparent) == (None, None)


@given(st.binary(max_size=200))
def test_no_bytes_do_worse_than_being_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        decode(body)


def test_a_field_added_later_is_ignored() -> None:
    event = decode(document(data=json.loads(written())["data"] | {"added": "later"}))

    assert load_data(event, OrderPaid).data == PAID


@pytest.mark.parametrize("text", ["\0", "\ud800", "a\udfffb"])
def test_a_text_that_not_every_database_can_store_is_refused(text: str) -> None:
    data = json.loads(written())["data"]

    for changes in ({"order_ref": text}, {"added": [{text: 1}]}):
        with pytest.raises(Invalid, match="NUL"):
            load_data(decode(document(data=data | changes)), OrderPaid)


def test_data_replaced_in_an_event_with_half_a_character_are_checked_not_failed_on() -> None:
    event = decode(document(data=json.loads(written())["data"] | {"order_ref": "\ud800"}))

    with pytest.raises(Unreadable, match="not JSON"):
        with_data(event, event.data)
    assert load_data(with_data(event, event.data | {"order_ref": "ORD-1"}), OrderPaid).data == PAID


def test_a_field_of_a_wrong_type_is_refused() -> None:
    event = decode(document(data={"order_id": "7"}))

    with pytest.raises(Invalid, match="order_id"):
        load_data(event, OrderPaid)


@pytest.mark.parametrize(
    ("type_", "told"),
    [
        ("orders.order_paid.v1", "older_version"),
        ("orders.order_paid.v2", None),
        ("orders.order_paid.v3", "newer_version"),
        ("orders.order_paid.v10", "newer_version"),
        ("orders.order_paid_off.v3", None),
        ("orders.order_eaten.v2", None),
        ("orders.order_paid", None),
        ("", None),
    ],
)
def test_another_version_of_a_known_fact_is_told_from_an_unknown_one(
    type_: str, told: str | None
) -> None:
    assert other_version(type_, {"orders.order_paid.v2", "orders.order_lost.v9"}) == told


def test_a_subject_is_named_for_its_contract_s_field() -> None:
    assert subject_of(PAID) == f"order/{ORDER}"
    assert (
        subject_of(fact_of(ShipmentPacked, {"shipment_id": ORDER, "order_id": ORDER}))
        == f"shipment/{ORDER}"
    )
