"""Rules of tills' journals: what an entry must hold, what has come, what may be taken back."""

import copy
import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import validator_for

from services.orders.rules import cash, journal, prices, reversals
from services.orders.rules.entries import MOST_NUMBER
from services.orders.rules.prices import Price
from services.orders.rules.reversals import BeyondSale, Taken
from services.orders.rules.till import (
    MOST_RAW,
    NO_NAME,
    EntryKind,
    EntryStatus,
    parse_entry,
)
from services.orders.schemas.entries import ENTRIES, SALE_EXAMPLE
from shared.runtime.validity import in_force

#: What people type, and what is kept of it.
TEXTS = json.loads(
    (Path(__file__).parents[1] / "shared" / "runtime" / "texts.json").read_text("utf-8")
)

ID = "0198d1f2-6a3b-7c4d-8e5f-0123456789ab"
OTHER_ID = "0198d1f2-6a3b-7c4d-8e5f-0123456789ac"
CONTACT = {"name": "卓玛", "phone": "138 0013 8000", "address": "巴河镇1号", "language": "bo"}


def an_entry(kind: str, /, **changes: Any) -> dict[str, Any]:
    """Make a good entry of a kind, number 17 of shift 12."""
    common = {"number": 17, "kind": kind, "clerk": "卓嘎", "shift": 12}
    common["device_time"] = "2026-11-25T08:30:00.123Z"
    return copy.deepcopy(common | OWN[kind] | changes)


OWN: dict[str, dict[str, Any]] = {
    "sale": {
        "lines": [
            {
                "line_no": number,
                "variant_id": ID,
                "lot_id": OTHER_ID,
                "quantity": 500,
                "price_fen": 6800,
                "price_unit": 500,
                "line_total_fen": 6800,
            }
            for number in (1, 2)
        ],
        "total_fen": 13_600,
        "payment": "cash",
        "voided": False,
    },
    "void": {"of": 13, "refund_fen": 13_600, "payment": "cash", "reason": "wrong lot"},
    "return": {
        "of": 13,
        "lines": [{"line_no": 1, "quantity": 500, "refund_fen": 6800, "restock": True}],
        "refund_fen": 6800,
        "payment": "mobile",
        "reason": None,
    },
    "hand_over": {
        "shipment_id": ID,
        "code": "123456",
        "received_by": None,
        "collected_fen": 13_600,
        "payment": "cash",
        "difference_reason": None,
    },
    "order": {
        "order": {
            "lines": [{"variant_id": ID, "quantity": 500}],
            "collect": False,
            "payment_method": "cash_on_delivery",
            "contact": CONTACT,
        }
    },
    "shift_open": {"shift": 17, "float_fen": 20_000},
    "shift_close": {"counted_fen": 20_000, "note": None},
}


# --- Read ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OWN)
def test_a_good_entry_of_each_kind_is_read(kind: str) -> None:
    entry = parse_entry(an_entry(kind))

    assert (entry.problem, entry.number, entry.kind, entry.clerk) == (None, 17, kind, "卓嘎")
    assert entry.device_time == datetime(2026, 11, 25, 8, 30, 0, 123_000, tzinfo=UTC)


@pytest.mark.parametrize("kind", OWN)
def test_the_document_shows_each_kind_as_it_is_read(kind: str) -> None:
    assert validator_for(ENTRIES[kind]).is_valid(an_entry(kind))
    assert parse_entry(SALE_EXAMPLE).problem is None


#: What a till in disorder might write where something else belongs.
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0, 10**30, -1, 1.5, "", "x", "x" * 1000, "\x00", "\ud800", [], {}, [{}]]),
)


def paths_of(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every field of an entry."""
    if isinstance(value, dict):
        inner = [path for name, item in value.items() for path in paths_of(item, (*above, name))]
        return ([above] if above else []) + inner
    if isinstance(value, list):
        return [above] + [p for i, item in enumerate(value) for p in paths_of(item, (*above, i))]
    return [above]


@st.composite
def disordered(draw: st.DrawFn) -> dict[str, Any]:
    """Draw an entry in which one field is missing, odd, or too many."""
    entry = an_entry(draw(st.sampled_from(list(OWN))))
    way = draw(st.sampled_from(paths_of(entry)))
    place: Any = entry
    for step in way[:-1]:
        place = place[step]
    match draw(st.sampled_from(["replace", "remove", "add"])):
        case "replace":
            place[way[-1]] = draw(ODD)
        case "remove":
            del place[way[-1]]
        case _ if isinstance(place, dict):
            place[draw(st.sampled_from(["x", "phone", "number "]))] = draw(ODD)
    return entry


@given(disordered())
def test_an_entry_in_disorder_is_read_or_kept_as_unreadable(raw: dict[str, Any]) -> None:
    before = copy.deepcopy(raw)

    entry = parse_entry(raw)

    assert raw == before
    if entry.problem is None and not entry.flags:
        assert validator_for(ENTRIES[raw["kind"]]).is_valid(raw)
    if entry.number is not None:
        assert len(entry.digest) == 64
        json.dumps(entry.body, ensure_ascii=False).encode()  # a database can store it
        assert "138 0013" not in json.dumps(entry.body)


@given(st.recursive(ODD, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_anything_that_is_json_is_read(raw: Any) -> None:
    entry = parse_entry(raw)

    assert entry.problem is not None


@pytest.mark.parametrize("number", [0, -1, True, 1.5, "1", None, [1], MOST_NUMBER + 1])
def test_what_has_no_usable_number_cannot_be_kept(number: Any) -> None:
    assert parse_entry(an_entry("sale", number=number)).number is None


@pytest.mark.parametrize(
    ("kind", "changes", "says"),
    [
        ("sale", {"lines": OWN["sale"]["lines"][:1] * 2}, "same line_no"),
        ("sale", {"lines": []}, "lines: Expected `array` of length >= 1"),
        ("sale", {"shift": 18}, "shift"),
        ("void", {"of": 17}, "of must be"),
        ("return", {"refund_fen": 6801}, "not the sum"),
        ("shift_open", {"shift": 12}, "own number"),
        ("shift_close", {"shift": 17}, "opening"),
        ("sale", {"kind": "gift"}, "kind must be one of"),
        ("sale", {"kind": ["sale"]}, "kind must be one of"),
        ("sale", {"colour": "red"}, "unknown field `colour`"),
    ],
)
def test_an_entry_that_cannot_be_says_why(kind: str, changes: dict[str, Any], says: str) -> None:
    problem = parse_entry(an_entry(kind, **changes)).problem

    assert problem is not None
    assert says in problem


def an_order(**contact: Any) -> dict[str, Any]:
    """Make an order whose buyer gave another contact."""
    return an_entry("order", order=OWN["order"]["order"] | {"contact": CONTACT | contact})


@pytest.mark.parametrize(
    ("typed", "clerk", "flags"),
    [
        *((case["typed"], case["kept"], []) for case in TEXTS if case["kept"]),
        *((case["typed"], NO_NAME, ["clerk_unclear"]) for case in TEXTS if not case["kept"]),
        ("卓" * 61, "卓" * 60, ["clerk_unclear"]),
        ("卓\u3000" * 40, "卓 " * 29 + "卓", ["clerk_unclear"]),
        (None, NO_NAME, ["clerk_unclear"]),
        (["卓嘎"], NO_NAME, ["clerk_unclear"]),
    ],
)
@pytest.mark.parametrize("kind", ["sale", "hand_over", "shift_open"])
def test_whatever_a_clerk_is_called_the_entry_is_read(
    kind: str, typed: Any, clerk: str, flags: list[str]
) -> None:
    entry = parse_entry(an_entry(kind, clerk=typed))

    assert (entry.problem, entry.clerk, entry.flags) == (None, clerk, flags)
    assert "\\ud800" not in json.dumps(entry.body)
    assert "\\u0000" not in json.dumps(entry.body)


@pytest.mark.parametrize(
    ("raw", "flags", "personal_data"),
    [
        (an_entry("void", reason="\u3000"), [], {}),
        (an_entry("return", reason="x" * 201), ["words_unclear"], {}),
        (an_entry("shift_close", note={"a": "\x00"}), ["words_unclear"], {}),
        (an_entry("hand_over", code="１２３ 456"), [], {"code": "123456"}),
        (an_entry("hand_over", code="12345"), ["code_unclear"], {"code": None}),
        (an_entry("hand_over", received_by="扎\u200b西 "), [], {"received_by": "扎西"}),
        (
            an_entry("hand_over", difference_reason=["x"]),
            ["words_unclear"],
            {"difference_reason": None},
        ),
        (an_order(name="\u200b"), ["contact_unclear"], {"name": NO_NAME}),
        (an_order(address="\u3000"), ["contact_unclear"], {"address": None}),
        (an_order(language="xx"), ["contact_unclear"], {"language": "zh"}),
        (an_order(phone="1-800-FLOWERS"), ["phone_unclear"], {"phone": "1-800-FLOWERS"}),
        (
            an_order(phone="138 0013 8000\u3000转 8"),
            ["phone_unclear"],
            {"phone": "138 0013 8000 转 8"},
        ),
        (an_order(phone=None), ["phone_unclear"], {"phone": "?"}),
        (an_order(phone="１３８００１３８０００"), [], {"phone": "+8613800138000"}),
    ],
)
def test_a_flaw_in_a_label_is_flagged_and_the_entry_is_read(
    raw: dict[str, Any], flags: list[str], personal_data: dict[str, Any]
) -> None:
    entry = parse_entry(raw)

    assert (entry.problem, entry.flags) == (None, flags)
    assert entry.personal_data | personal_data == entry.personal_data


@pytest.mark.parametrize(
    "shown",
    [
        "2026-11-25T08:30:00",
        "0001-01-01T00:00:00+14:00",
        "8999-01-01T00:00:00Z",
        "+012026-11-25T08:30:00Z",
        "",
        None,
        7,
    ],
)
def test_a_clock_that_shows_no_moment_is_flagged_and_the_sale_stands(shown: Any) -> None:
    entry = parse_entry(an_entry("sale", device_time=shown))

    assert (entry.problem, entry.device_time, entry.flags) == (None, None, ["clock_off"])


def test_a_label_that_is_missing_is_flagged_and_the_entry_is_read() -> None:
    sale, order = an_entry("sale"), an_entry("order")
    del sale["clerk"], sale["device_time"]
    del order["order"]["contact"]["phone"]

    unnamed, unreached = parse_entry(sale), parse_entry(order)

    assert (unnamed.problem, unnamed.flags) == (None, ["clock_off", "clerk_unclear"])
    assert (unnamed.clerk, unnamed.device_time) == (NO_NAME, None)
    assert (unreached.problem, unreached.flags) == (None, ["phone_unclear"])


def test_labels_of_any_size_are_kept_within_bounds() -> None:
    entry = parse_entry(
        an_entry("hand_over", difference_reason="x" * 2 * MOST_RAW, clerk=["y"] * 9)
    )

    assert (entry.problem, entry.flags) == (None, ["clerk_unclear", "words_unclear"])
    assert len(json.dumps(entry.body)) < MOST_RAW


def test_what_concerns_a_buyer_is_neither_kept_nor_part_of_the_content() -> None:
    order, other = an_entry("order"), an_entry("order")
    other["order"]["contact"]["phone"] = "139 0013 9000"

    entry = parse_entry(order)

    assert "contact" not in json.dumps(entry.body)
    assert entry.personal_data == CONTACT | {"phone": "+8613800138000"}
    assert parse_entry(other).digest == entry.digest
    parcel = parse_entry(an_entry("hand_over", received_by="扎西"))
    assert not parcel.body.keys() & {"code", "received_by"}
    assert parcel.personal_data == {
        "code": "123456",
        "received_by": "扎西",
        "difference_reason": None,
    }


def test_the_content_does_not_depend_on_the_order_of_its_fields() -> None:
    sale = an_entry("sale")
    turned = dict(reversed(sale.items()))

    assert parse_entry(sale).digest == parse_entry(turned).digest
    assert parse_entry(sale).digest != parse_entry(an_entry("sale", clerk="x")).digest


def test_an_unreadable_entry_of_any_size_and_depth_is_kept_within_bounds() -> None:
    deep: Any = {}
    for _ in range(900):
        deep = {"x": deep}

    large = parse_entry(an_entry("sale", note="x" * 2 * MOST_RAW))
    nested = parse_entry(an_entry("sale") | {"lines": deep})

    assert list(large.body) == ["dropped"]
    assert nested.problem is not None
    assert len(json.dumps(nested.body)) < 1000


# --- Which numbers have come ---------------------------------------------------------------------


@given(st.lists(st.lists(st.integers(1, 40), max_size=8), max_size=12))
def test_holes_are_what_has_not_come_below_the_highest(batches: list[list[int]]) -> None:
    highest, holes, came = 0, [], set[int]()

    for batch in batches:
        before = len(came)
        came |= set(batch)
        highest, holes, new = journal.receive(highest, holes, batch)

        missing = set(range(1, highest)) - came
        assert highest == max(came, default=0)
        assert new == len(came) - before
        assert [n for a, b in holes for n in range(a, b + 1)] == sorted(missing)
        assert all(b + 1 < c for (_, b), (c, _) in pairwise(holes))
        assert journal.missing(holes) == len(missing)
        assert journal.first_missing(holes, 3) == sorted(missing)[:3]
        for first, last in ((1, highest), (5, 9), (9, 5)):
            between = sum(first <= number <= last for number in missing)
            assert journal.missing_between(holes, first, last) == between


# --- What may be taken back ----------------------------------------------------------------------


def a_line(**changes: Any) -> dict[str, Any]:
    """Make a line of a sale: 10 pieces for 10.00 yuan."""
    line = {"line_no": 1, "variant_id": ID, "lot_id": OTHER_ID, "quantity": 10}
    return line | {"line_total_fen": 1000} | changes


def a_part(**changes: Any) -> dict[str, Any]:
    """Make a line of a return: 4 pieces for 4.00 yuan."""
    return {"line_no": 1, "quantity": 4, "refund_fen": 400, "restock": True} | changes


def test_a_void_takes_back_all_that_is_left_and_nothing_else() -> None:
    lines = [a_line(), a_line(line_no=2, line_total_fen=500)]

    back = reversals.void(lines, 1500, {1: Taken(4, 400), 2: Taken(10, 500)}, 600)

    assert [(line["line_no"], line["quantity"], line["line_total_fen"]) for line in back] == [
        (1, 6, 600)
    ]
    assert back[0]["restock"] is True


@pytest.mark.parametrize(
    ("before", "refund_fen"),
    [({}, 999), ({}, 1001), ({1: Taken(4, 400)}, 1000), ({1: Taken(10, 1000)}, 0)],
)
def test_a_void_that_gives_back_something_else_than_is_left_is_beyond_the_sale(
    before: dict[int, Taken], refund_fen: int
) -> None:
    with pytest.raises(BeyondSale):
        reversals.void([a_line()], 1000, before, refund_fen)


@pytest.mark.parametrize(
    ("before", "parts"),
    [
        ({}, [a_part(quantity=11)]),
        ({}, [a_part(quantity=6), a_part(quantity=5)]),
        ({1: Taken(7, 0)}, [a_part()]),
        ({}, [a_part(refund_fen=1001)]),
        ({1: Taken(1, 700)}, [a_part()]),
        ({}, [a_part(line_no=2)]),
    ],
)
def test_more_than_was_sold_does_not_come_back(
    before: dict[int, Taken], parts: list[dict[str, Any]]
) -> None:
    with pytest.raises(BeyondSale):
        reversals.take_back([a_line()], 1000, before, parts)


def test_no_more_money_goes_back_than_the_sale_cost_whatever_its_lines_say() -> None:
    lines = [a_line(), a_line(line_no=2)]
    parts = [a_part(quantity=10, refund_fen=1000), a_part(line_no=2, refund_fen=1)]

    with pytest.raises(BeyondSale):
        reversals.take_back(lines, 1000, {}, parts)


@given(
    st.lists(
        st.one_of(
            st.integers(0, 1200),
            st.lists(
                st.builds(
                    a_part,
                    line_no=st.integers(1, 3),
                    quantity=st.integers(1, 8),
                    refund_fen=st.integers(0, 800),
                ),
                min_size=1,
                max_size=3,
            ),
        ),
        max_size=8,
    )
)
def test_whatever_is_taken_back_is_never_more_than_was_sold(
    attempts: list[int | list[dict[str, Any]]],
) -> None:
    lines = [a_line(), a_line(line_no=2, quantity=5, line_total_fen=200)]
    taken: dict[int, Taken] = {}

    for attempt in attempts:
        try:
            if isinstance(attempt, int):
                back = reversals.void(lines, 1200, taken, attempt)
            else:
                back = reversals.take_back(lines, 1200, taken, attempt)
        except BeyondSale:
            continue
        for line in back:
            before = taken.get(line["line_no"], Taken())
            taken[line["line_no"]] = Taken(
                before.quantity + line["quantity"], before.fen + line["line_total_fen"]
            )

    for line in lines:
        back = taken.get(line["line_no"], Taken())
        assert 0 <= back.quantity <= line["quantity"]
        assert 0 <= back.fen <= line["line_total_fen"]


# --- Cash ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status", "moved"),
    [
        (EntryKind.SALE, EntryStatus.ACCEPTED, 100),
        (EntryKind.SALE, EntryStatus.DISPUTED, 100),
        (EntryKind.HAND_OVER, EntryStatus.DISPUTED, 100),
        (EntryKind.VOID, EntryStatus.ACCEPTED, -100),
        (EntryKind.VOID, EntryStatus.WAITING, 0),
        (EntryKind.RETURN, EntryStatus.DISPUTED, 0),
        (EntryKind.SHIFT_CLOSE, EntryStatus.ACCEPTED, 0),
    ],
)
def test_cash_that_was_taken_counts_and_a_disputed_refund_does_not(
    kind: EntryKind, status: EntryStatus, moved: int
) -> None:
    assert cash.custody_fen(kind, status, "cash", 100, False) == moved
    assert cash.custody_fen(kind, status, "mobile", 100, False) == 0
    assert cash.custody_fen(kind, status, "cash", 100, True) == 0
    assert cash.custody_fen(kind, status, "cash", None, False) == 0


def test_an_operator_can_let_a_disputed_refund_count() -> None:
    status = EntryStatus.ACKNOWLEDGED

    assert cash.custody_fen(EntryKind.VOID, status, "cash", 100, False, booked=True) == -100


@given(st.lists(st.tuples(st.sampled_from(cash.CAUSES), st.integers(-100, 100))))
def test_what_a_clerk_holds_is_the_sum_of_the_entries(moves: list[tuple[str, int]]) -> None:
    change = cash.Change()

    for cause, amount_fen in moves:
        change.add(cause, amount_fen)

    assert change.held_fen == sum(amount_fen for _, amount_fen in moves)


# --- Prices --------------------------------------------------------------------------------------


DAY = timedelta(days=1)
NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "fen"),
    [
        (NOON - DAY, None),
        (NOON, 1),
        (NOON + DAY - timedelta(seconds=1), 1),
        (NOON + DAY, 2),
        (NOON + 2 * DAY, 1),
        (NOON + 3 * DAY, 3),
    ],
)
def test_the_price_in_force_is_the_last_that_began_and_has_not_ended(
    moment: datetime, fen: int | None
) -> None:
    history = [
        Price(1, 1, NOON, None),
        Price(2, 1, NOON + DAY, NOON + 2 * DAY),
        Price(3, 1, NOON + 3 * DAY, None),
    ]

    found = in_force(history, moment)

    assert (found and found.price_fen) == fen


def test_a_sale_sums_up_by_its_lines_and_each_line_by_its_price() -> None:
    lines = OWN["sale"]["lines"]
    changed = [lines[0] | {"line_total_fen": 6801}, lines[1]]

    assert prices.sums_up(lines, 13_600)
    assert not prices.sums_up(lines, 13_599)
    assert not prices.sums_up(changed, 13_601)
