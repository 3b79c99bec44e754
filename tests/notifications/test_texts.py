"""What messages say, in three languages."""

import re
from datetime import date
from typing import Any

import pytest

from services.notifications import texts
from services.notifications.rules.messages import LANGUAGES, TEMPLATES
from services.notifications.texts import Facts, Incomplete, Line

KEYS = {f"{name}.{part}" for name in TEMPLATES for part in ("title", "body")} | {
    "note.collect",
    "note.deliver",
    "note.out_of_stock",
    "note.recalled",
    "note.due",
    "note.promise",
}


def some_facts(**changes: Any) -> Facts:
    """Return facts of an order that hold everything a text may mention."""
    names = {"zh": "松茸（鲜）", "en": "Matsutake, fresh"}
    return Facts(
        **{
            "order_ref": "ORD-7KQ2M9XH",
            "lines": [Line(names, "1", "g", 1500)],
            "total_fen": 204000,
            "due_fen": 204000,
            "amount_fen": 68000,
            "collect": True,
            "site": {"zh": "巴河镇", "bo": "སྤ་ཧོ།", "en": "Bahe Town"},
            "promised_on": date(2026, 8, 22),
            "code": "123456",
            "lots": ["L-1"],
        }
        | changes
    )


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("template", TEMPLATES)
def test_every_message_can_be_written_in_every_language(template, language):
    text = texts.render(template, language, some_facts())

    assert text.title and "ORD-7KQ2M9XH" in text.body
    assert "{" not in text.title + text.body


@pytest.mark.parametrize("language", ["zh", "en"])
def test_chinese_and_english_lack_no_text(language):
    assert texts.catalogue(language).keys() == KEYS


def test_tibetan_has_most_texts_and_none_that_nobody_asks_for():
    present = texts.catalogue("bo").keys()

    assert present <= KEYS
    assert len(present) > 0.85 * len(KEYS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_placeholders_are_known_and_codes_and_amounts_are_in_every_language(language):
    for key, text in texts.catalogue(language).items():
        mentioned = set(re.findall(r"{(\w+)}", text))
        in_chinese = set(re.findall(r"{(\w+)}", texts.catalogue("zh")[key]))
        assert mentioned <= texts.PLACEHOLDERS.keys()
        assert mentioned == in_chinese, key


def test_a_text_that_is_missing_is_shown_in_chinese_and_marked():
    text = texts.render("delivery_failed", "bo", some_facts())

    assert text.title == "〔zh〕送货未成功"
    assert text.body.startswith("〔zh〕订单 ORD-7KQ2M9XH")


def test_a_text_that_exists_nowhere_still_names_the_order():
    text = texts.render("no_such_template", "en", some_facts())

    assert text.body == "〔no_such_template.body〕 ORD-7KQ2M9XH"


def test_a_text_in_another_language_writes_values_that_languages_way():
    lines = [Line({"zh": "松茸"}, "1", "g", 250)]

    body = texts._fill("order_placed.body", "bo", some_facts(lines=lines))

    assert "ཁེ་250" in body


@pytest.mark.parametrize(
    ("template", "lacking"),
    [
        ("order_placed", {"order_ref": None}),
        ("order_placed", {"lines": None}),
        ("order_confirmed", {"due_fen": None}),
        ("order_confirmed", {"site": None}),
        ("order_confirmed", {"collect": None}),
        ("collection_code", {"code": None}),
    ],
)
def test_a_text_is_not_written_before_what_it_mentions_is_known(template, lacking):
    with pytest.raises(Incomplete):
        texts.render(template, "zh", some_facts(**lacking))


def test_nothing_is_asked_of_who_has_paid():
    text = texts.render("collection_code", "en", some_facts(due_fen=0))

    assert text.body == (
        "Your order ORD-7KQ2M9XH waits for you at Bahe Town. Show this code: 123456."
    )


def test_a_day_is_promised_only_when_logistics_promised_one():
    with_day = texts.render("shipment_dispatched", "zh", some_facts())
    without = texts.render("shipment_dispatched", "zh", some_facts(promised_on=None))

    assert "8月22日" in with_day.body
    assert without.body == "订单 ORD-7KQ2M9XH 已发货。"


@pytest.mark.parametrize(
    ("fen", "shown"),
    [(0, "¥0.00"), (5, "¥0.05"), (68000, "¥680.00"), (123456789, "¥1,234,567.89")],
)
def test_money_is_shown_in_yuan(fen, shown):
    assert texts.money(fen) == shown


@pytest.mark.parametrize(
    ("amount", "unit", "language", "shown"),
    [
        (250, "g", "zh", "250克"),
        (250, "g", "en", "250 g"),
        (250, "g", "bo", "ཁེ་250"),
        (500, "g", "zh", "0.5公斤（1斤）"),
        (1500, "g", "zh", "1.5公斤（3斤）"),
        (1250, "g", "zh", "1.25公斤（2.5斤）"),
        (1001, "g", "zh", "1.001公斤（2.002斤）"),
        (2000, "g", "en", "2 kg"),
        (1050, "g", "en", "1.05 kg"),
        (1500, "g", "bo", "སྤྱི་རྒྱ་1.5"),
        (10, "piece", "zh", "10件"),
        (1, "piece", "en", "1 piece"),
        (10, "piece", "en", "10 pieces"),
        (10, "piece", "bo", "གྲངས་10"),
    ],
)
def test_quantities_are_shown_as_people_say_them(amount, unit, language, shown):
    assert texts.quantity(amount, unit, language) == shown


@pytest.mark.parametrize(
    ("language", "shown"), [("zh", "8月22日"), ("en", "22 August"), ("bo", "ཟླ་8ཚེས་22")]
)
def test_dates_are_shown_without_a_year(language, shown):
    assert texts.day(date(2026, 8, 22), language) == shown


def test_a_long_order_is_cut_short():
    lines = [Line({"zh": "天麻"}, "1", "g", 100 + n) for n in range(200)]

    body = texts.render("order_placed", "en", some_facts(lines=lines)).body

    assert "… (+195)" in body
    assert len(body) < 300
