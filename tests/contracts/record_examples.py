"""Record one example of each event type that has none yet.

`python tests/contracts/record_examples.py` writes `examples/<event type>.json`, as the event
would travel. An example that is there is never written again: it stands for the events that are
stored already, and today's contract must go on reading it.
"""

from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

from msgspec.structs import fields

from farmgate.contracts import FieldType, type_of
from shared.events import EVENTS, Fact, Part
from shared.messaging.envelope import encode, fact_of

EXAMPLES = Path(__file__).parent / "examples"

MOMENT = datetime(2026, 7, 15, 2, 30, 0, 250_000, tzinfo=UTC)

#: By field, or by fact and field where one word means several things. Without a word here a
#: field gets the first of its choices, or `PLAIN` by its class.
WORDS: dict[str, Any] = {
    "zh": "松茸（鲜）",
    "en": "Matsutake, fresh",
    "site_opened.code": "540402102",
    "site_opened.zh": "八一镇",
    "site_opened.bo": "བྲག་ཡིབ",
    "site_opened.en": "Bayi",
    "site_opened.level": "township",
    "product_listed.code": "MATSUTAKE-FRESH",
    "bo": "བེ་ཤ",
    "collection_code_issued.code": "482913",
    "parcel_handed_over.code": "482913",
    "name": "卓玛",
    "phone": "+8613800000000",
    "address": "八一镇幸福路1号",
    "language": "zh",
    "received_by": "卓玛",
    "sku": "MATSUTAKE-FRESH-1",
    "grade": "1",
    "storage": "0-4 C",
    "pack_quantity": 500,
    "min_life_days": 2,
    "price_unit": 500,
    "price_fen": 68_000,
    "quantity": 500,
    "granted": 3_000,
    "requested": 1_500,
    "available": 500,
    "remaining": 500,
    "difference": -500,
    "line_no": 1,
    "epoch": 2,
    "number": 17,
    "lot_code": "MATSUTAKE-FRESH-1-20260714-01",
    "order_ref": "ORD-7KQ2M9XH",
    "shipment_ref": "SHP-4TRW8C3N",
    "buyer_id": "buyer-17",
    "partner": "market-1",
    "external_ref": "SO-2026-000417",
    "device_code": "540402102-1",
    "digest": sha256(b"example").hexdigest(),
    "scopes": "till",
    "cause": "cancelled",
    "lot_held.reason": "inspection",
    "lot_recalled.reason": "inspection",
    "stock_adjusted.reason": "spoiled",
    "approval_requested.reason": "open_value",
    "order_rejected.reason": "out_of_stock",
    "payment_failed.reason": "declined",
    "order_cancelled.reason": "buyer",
    "stock_released.reason": "cancelled",
    "delivery_failed.reason": "refused",
    "station_sale_disputed.reason": "beyond_grant",
    "allotment_overdrawn.reason": "beyond_grant",
    "hand_over_refused.reason": "wrong-code",
    "resolution": "covered",
}
PLAIN: dict[str, Any] = {
    "integer": 68_000,
    "boolean": True,
    "moment": MOMENT,
    "date": date(2026, 7, 19),
}
#: Fields that most often say null: a price without an end, a sale that undoes no other.
MOSTLY_NULL = {"valid_to", "of_sale_id", "restock", "difference_reason"}


def fixed_id(name: str) -> UUID:
    """Return a UUIDv7 made from a name, so that all examples speak of the same order."""
    digits = sha256(name.encode()).hexdigest()
    return UUID(f"01980bc4-6b1a-7{digits[:3]}-8{digits[3:6]}-{digits[6:18]}")


def value(fact: str, name: str, annotation: Any) -> Any:
    """Return what an example of `fact` says in one field.

    Raises:
        KeyError: `WORDS` has no word for a field with text.
    """
    told = type_of(name, annotation)
    if told.nullable and name in MOSTLY_NULL:
        return None
    one = _one(fact, name, told)
    return [one] if told.kind.startswith("list of ") else one


def _one(fact: str, name: str, told: FieldType) -> Any:
    kind = told.kind.removeprefix("list of ")
    if told.part is not None:
        return values(fact, told.part)
    if kind == "uuid":
        return fixed_id(name)
    for word in (f"{fact}.{name}", name):
        if word in WORDS:
            return WORDS[word]
    choices = told.allowed.get("values")
    return choices[0] if choices else PLAIN[kind]


def values(fact: str, part: type[Part]) -> dict[str, Any]:
    """Return what an example of `fact` says in all fields of one of its parts."""
    return {field.name: value(fact, field.name, field.type) for field in fields(part)}


def example(contract: type[Fact]) -> bytes:
    """Return one event of a type, with the same values each time."""
    fact = contract.routing_key.split(".")[1]
    return encode(
        fact_of(contract, values(fact, contract)),
        event_id=fixed_id(contract.routing_key),
        sequence=3,
        time=MOMENT,
        correlation_id=str(fixed_id("correlation")),
        causation_id=str(fixed_id("causation")),
        traceparent=f"00-{sha256(b'trace').hexdigest()[:32]}-{sha256(b'span').hexdigest()[:16]}-01",
    )


def main() -> None:
    """Write the examples that are missing, and name them."""
    for contract in EVENTS:
        path = EXAMPLES / f"{contract.routing_key}.json"
        if not path.exists():
            path.write_bytes(example(contract) + b"\n")
            print(path.name)


if __name__ == "__main__":
    main()
