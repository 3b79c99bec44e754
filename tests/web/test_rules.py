"""The till's rules as its browser computes them: money, weights, stock, clock."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import phonenumbers
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat
from playwright.sync_api import Page, Playwright

from services.orders.rules.prices import line_total_fen
from shared.runtime import phones
from shared.runtime.text import normalised

#: What the till and the centre must read alike.
_TABLES = Path(__file__).parents[1] / "shared" / "runtime"
TEXTS = json.loads((_TABLES / "texts.json").read_text("utf-8"))
PHONES = json.loads((_TABLES / "phones.json").read_text("utf-8"))

pytestmark = [pytest.mark.xdist_group("till_rules"), pytest.mark.browser]


@pytest.fixture(scope="module")
def page(playwright: Playwright, chromium: str, page_server: str) -> Iterator[Page]:
    """A page of the till's address, where its modules can be called."""
    browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
    opened = browser.new_page()
    opened.goto(f"{page_server}/till/")
    yield opened
    browser.close()


@pytest.fixture(scope="module")
def call(page: Page) -> Callable[..., Any]:
    """Call a function of a module of the till."""

    def run(module: str, function: str, *arguments: Any) -> Any:
        return page.evaluate(
            """async ([module, name, given]) => {
              const made = (await import(`/till/static/js/${module}.js`))[name](...given);
              return made === undefined ? null : made;
            }""",
            [module, function, list(arguments)],
        )

    return run


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    quantity=st.integers(1, 10_000_000),
    price=st.integers(0, 100_000_000),
    unit=st.sampled_from((1, 3, 10, 500, 1000, 9_999_999)),
)
def test_a_lines_total_is_what_orders_computes(
    call: Callable[..., Any], quantity: int, price: int, unit: int
) -> None:
    assert call("money", "lineTotal", quantity, price, unit) == line_total_fen(
        quantity, price, unit
    )


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(total=st.integers(0, 10**12), parts=st.lists(st.integers(1, 10**6), min_size=1, max_size=6))
def test_refunds_of_all_parts_of_a_line_are_exactly_its_total(
    call: Callable[..., Any], total: int, parts: list[int]
) -> None:
    line = {"line_total_fen": total, "quantity": sum(parts)}
    before = refunded = 0

    for part in parts:
        refunded += call("money", "refundOf", line, before, part)
        before += part

    assert refunded == total


@pytest.mark.parametrize(
    ("text", "unit", "grams"),
    [
        ("250", "g", 250),
        ("0.25", "kg", 250),
        ("1.25", "kg", 1250),
        ("2.5", "jin", 1250),
        ("0.001", "kg", 1),
        (".5", "kg", None),
        ("1.2345", "kg", None),
        ("0.001", "jin", None),
        ("1.5", "g", None),
        ("-1", "g", None),
        ("", "kg", None),
        ("1e3", "g", None),
        ("12。5", "jin", 6250),
    ],
)
def test_weights_are_whole_grams_however_they_are_typed(
    call: Callable[..., Any], text: str, unit: str, grams: int | None
) -> None:
    assert call("money", "parseWeight", text, unit) == grams


@pytest.mark.parametrize(
    ("text", "fen"),
    [("136", 13600), ("136.5", 13650), ("0.05", 5), ("1.005", None), ("x", None), ("", None)],
)
def test_amounts_are_whole_fen(call: Callable[..., Any], text: str, fen: int | None) -> None:
    assert call("money", "parseYuan", text) == fen


def allotment(**changes: Any) -> dict[str, Any]:
    return {
        "allotment_id": "a",
        "variant_id": "v",
        "lot_code": "L1",
        "best_before": None,
        "sell_by": None,
        "lease_until": "2026-08-03T00:00:00Z",
        "status": "active",
        "open": True,
        "granted": 1000,
        "returned": 0,
        "written_off": 0,
        "sold": 0,
        "taken": 0,
        "returning": 0,
    } | changes


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({}, 1000),
        ({"taken": 300}, 700),
        ({"taken": 300, "sold": 100}, 700),
        # The centre has heard of sales that this device has forgotten.
        ({"taken": 300, "sold": 900}, 100),
        ({"taken": 300, "returned": 200, "returning": 100, "written_off": 50}, 350),
        ({"granted": 100, "taken": 300}, 0),
    ],
)
def test_what_is_left_is_never_more_than_either_side_knows(
    call: Callable[..., Any], changes: dict[str, Any], left: int
) -> None:
    assert call("stock", "remaining", allotment(**changes)) == left


#: 2 August 2026, 20:00 in China.
NOW = 1_785_672_000_000


@pytest.mark.parametrize(
    ("changes", "offset", "why"),
    [
        ({}, 0, None),
        ({"status": "suspended"}, 0, "suspended"),
        ({"status": "returning"}, 0, "returning"),
        ({"open": False}, 0, "closed"),
        ({"taken": 1000}, 0, "sold_out"),
        ({"sell_by": "2026-08-02"}, 0, None),
        # Four hours later it is the next day in China, and not yet in UTC.
        ({"sell_by": "2026-08-02"}, 4 * 3_600_000, "sell_by"),
        ({"lease_until": "2026-08-02T12:00:00Z"}, 0, "lot_lease"),
        # The device is an hour fast: by the centre's time the lease still holds.
        ({"lease_until": "2026-08-02T12:00:00Z"}, -3_600_000, None),
    ],
)
def test_a_lot_stops_by_the_centres_time_and_chinas_day(
    call: Callable[..., Any], changes: dict[str, Any], offset: int, why: str | None
) -> None:
    clock = {"offset": offset, "high": NOW, "contact": NOW}

    assert call("stock", "whyStopped", allotment(**changes), clock, NOW) == why


@pytest.mark.parametrize(("back", "stopped"), [(0, None), (60, None), (180, "clock")])
def test_a_clock_may_be_corrected_by_a_little_and_not_turned_back(
    call: Callable[..., Any], back: int, stopped: str | None
) -> None:
    facts = {
        "key": {"key_id": "k"},
        "clock": {"offset": 0, "high": NOW, "contact": NOW},
        "contact": {"lease_until": "2026-08-03T00:00:00Z"},
        "restored": False,
    }

    assert call("stock", "whyClosed", facts, NOW - back * 1000) == stopped


def test_a_quantity_is_divided_over_lots_first_expired_first(call: Callable[..., Any]) -> None:
    lots = [
        allotment(allotment_id="none", lot_code="A"),
        allotment(allotment_id="late", lot_code="B", best_before="2027-01-01"),
        allotment(allotment_id="soon", lot_code="C", best_before="2026-09-01", taken=400),
        allotment(allotment_id="other", variant_id="w"),
    ]
    ordered = call("stock", "inOrder", lots, "v")
    assert [lot["allotment_id"] for lot in ordered] == ["soon", "late", "none"]

    parts = call("stock", "divide", ordered, 1_100, {"soon": 100})

    assert [(p["allotment"]["allotment_id"], p["quantity"]) for p in parts] == [
        ("soon", 500),
        ("late", 600),
    ]
    assert call("stock", "divide", ordered, 2_601, {}) is None


def test_the_next_price_holds_from_its_moment(call: Callable[..., Any]) -> None:
    variant = {
        "price_fen": 100,
        "price_unit": 1,
        "valid_to": "2026-08-02T13:00:00Z",
        "next_price": {
            "price_fen": 120,
            "price_unit": 1,
            "valid_from": "2026-08-02T13:00:00Z",
            "valid_to": None,
        },
    }
    clock = {"offset": 0}

    assert call("stock", "priceOf", variant, clock, NOW)["price_fen"] == 100
    assert call("stock", "priceOf", variant, clock, NOW + 3_600_000)["price_fen"] == 120
    assert call("stock", "priceOf", variant | {"next_price": None}, clock, NOW + 3_600_000) is None


def test_the_price_before_a_dated_one_holds_again_at_its_end(call: Callable[..., Any]) -> None:
    def span(fen: int, begins: str, ends: str | None) -> dict[str, Any]:
        return {"price_fen": fen, "price_unit": 1, "valid_from": begins, "valid_to": ends}

    noon, one, two = (f"2026-08-02T{hour}:00:00Z" for hour in (12, 13, 14))
    dated = span(80, noon, one)
    variant = dated | {"next_price": None, "prices": [dated, span(100, one, None)]}
    ending = variant | {"prices": [dated, span(100, one, two)]}
    clock = {"offset": 0}

    assert call("stock", "priceOf", variant, clock, NOW)["price_fen"] == 80
    assert call("stock", "priceOf", variant, clock, NOW + 3_600_000)["price_fen"] == 100
    assert call("stock", "priceOf", variant, clock, NOW + 7_200_000)["price_fen"] == 100
    assert call("stock", "priceOf", ending, clock, NOW + 7_200_000) is None


def test_every_text_is_there_in_all_languages_with_the_same_facts(page: Page) -> None:
    texts = page.evaluate("""async () => Object.fromEntries(await Promise.all(
      ["zh", "bo", "en"].map(async (code) =>
        [code, (await import(`/till/static/js/texts/${code}.js`)).TEXTS])))""")

    import re

    def facts(text: str) -> set[str]:
        return set(re.findall(r"\{\w+\}", text))

    assert texts["zh"].keys() == texts["en"].keys() == texts["bo"].keys()
    for name, text in texts["zh"].items():
        assert facts(text) == facts(texts["en"][name]) == facts(texts["bo"][name]), name


# --- Text and telephone numbers ------------------------------------------------------------------


def _together(page: Page, module: str, function: str, texts: list[str]) -> list[Any]:
    """Call a function of the till with each of many texts."""
    found: list[Any] = page.evaluate(
        """async ([module, name, texts]) => {
          const { [name]: called } = await import(`/till/static/js/${module}.js`);
          return JSON.parse(texts).map((text) => called(text));
        }""",
        # As JSON, which can spell half of a surrogate pair.
        [module, function, json.dumps(texts)],
    )
    return found


def test_the_till_gives_text_the_form_of_the_centres_table(page: Page) -> None:
    kept = _together(page, "text", "normalised", [case["typed"] for case in TEXTS])

    assert kept == [case["kept"] for case in TEXTS]


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    texts=st.lists(
        st.text(
            st.sampled_from("ae\u0301\u0f56\u0f71\u0f84 \u3000\u200b\u200d\ufe0f\u094d\u0915👩🌾\t")
            | st.characters(max_codepoint=0x2FFF, exclude_categories=["Cn", "Cs"]),
            max_size=12,
        ),
        min_size=20,
        max_size=60,
    )
)
def test_the_till_gives_any_text_the_form_that_the_centre_gives_it(
    page: Page, texts: list[str]
) -> None:
    assert _together(page, "text", "normalised", texts) == [normalised(text) for text in texts]


def test_the_till_reads_telephone_numbers_as_the_centres_table_says(page: Page) -> None:
    read = _together(page, "phones", "readPhone", [case["typed"] for case in PHONES])

    assert read == [
        {"phone": case["kept"]} if "kept" in case else {"problem": case["problem"]}
        for case in PHONES
    ]


def _as_the_till_says(text: str) -> dict[str, str]:
    try:
        return {"phone": phones.e164(text)}
    except phones.NotAPhone as error:
        return {"problem": error.problem}


def _near(region: str) -> st.SearchStrategy[str]:
    """A number of a country, or one that differs from it by a figure."""
    number = phonenumbers.example_number(region)
    assert number is not None
    written = phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL)
    place = st.integers(1, len(written) - 1)
    figure = st.sampled_from([*"0123456789", "", "-", " 0", "00"])
    return st.builds(lambda at, new: written[:at] + new + written[at + 1 :], place, figure)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    texts=st.lists(
        st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS)).flatmap(_near)
        | st.from_regex(r"\A(\+|00|0|86|)[0-9]{3,4}[ -]?[0-9]{4,8}([ -]|转|x)?[0-9]{0,4}\Z"),
        min_size=50,
        max_size=100,
    )
)
def test_the_till_and_the_centre_read_any_telephone_number_alike(
    page: Page, texts: list[str]
) -> None:
    assert _together(page, "phones", "readPhone", texts) == [_as_the_till_says(t) for t in texts]
