"""Sheets as real programs save them: what is read, what is refused, and what is written."""

import codecs
import csv
import io
from contextlib import suppress
from datetime import UTC, date, datetime
from time import process_time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from marshmallow import fields

from shared.runtime.schemas import Day, Moment, RequestSchema, Text
from shared.runtime.spreadsheets import Form, NotCsv, Sheet, WrongEncoding, column, read, write
from shared.runtime.spreadsheets.cells import guarded, unguarded
from shared.runtime.text import normalised


class _Cells(RequestSchema):
    name = Text(60, required=True)
    grams = fields.Integer(strict=True, allow_none=True)
    degrees = fields.Float(allow_none=True)
    picked = Day(allow_none=True)
    begins = Moment(allow_none=True)
    fresh = fields.Boolean(allow_none=True)
    roles = fields.List(fields.String())


COLUMNS = {name: column(_Cells, name) for name in _Cells().load_fields}


def sheet(text: str | bytes, **form: Any) -> Sheet:
    data = text.encode() if isinstance(text, str) else text
    return read(data, COLUMNS, Form(**form))


def cells(text: str | bytes, **form: Any) -> list[dict[str, Any]]:
    found = sheet(text, **form)
    assert not found.errors
    return [dict(row.cells) for row in found.rows]


def cell(name: str, text: str, **form: Any) -> Any:
    """Return what one cell is read as, or (a text) why it is refused."""
    separator = {"semicolon": ";", "tab": "\t", None: ","}[form.get("separator")]
    out = io.StringIO()
    csv.writer(out, delimiter=separator).writerows([["name", name], ["x", text]])
    found = sheet(out.getvalue(), **form)
    if found.errors:
        (error,) = found.errors
        assert (error.line, error.column) == (2, name)
        return error.message
    return found.rows[0].cells[name]


# --- The file ------------------------------------------------------------------------------------

ROWS = "name,grams\r\n松茸,5\r\n扎西德勒 བཀྲ་ཤིས།,6\r\n"
READ = [{"name": "松茸", "grams": 5}, {"name": "扎西德勒 བཀྲ་ཤིས།", "grams": 6}]


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (ROWS.encode(), "utf-8"),
        (ROWS.encode("utf-8-sig"), "utf-8"),
        (codecs.BOM_UTF16_LE + ROWS.encode("utf-16-le"), "utf-16"),
        (codecs.BOM_UTF16_BE + ROWS.encode("utf-16-be"), "utf-16"),
        (ROWS.encode("utf-16-le"), "utf-16-le"),
        (ROWS.encode("utf-16-be"), "utf-16-be"),
        (ROWS.encode("gb18030"), "gb18030"),
    ],
)
def test_the_encoding_is_told_from_the_file(data: bytes, encoding: str) -> None:
    found = sheet(data)

    assert [row.cells for row in found.rows] == READ
    assert found.encoding == encoding


@pytest.mark.parametrize("text", ["name\r\nMüller\r\nGarçon\r\n", "name\r\nCafé\r\n"])
def test_letters_of_another_code_page_are_not_taken_for_chinese(text: str) -> None:
    with pytest.raises(NotCsv, match="CSV UTF-8"):
        sheet(text.encode("cp1252"))


def test_utf_8_that_is_cut_in_a_letter_is_not_taken_for_another_encoding() -> None:
    with pytest.raises(NotCsv):
        sheet("name\r\n松茸菌菇\r\n虫草\r\n".encode()[:-4])


def test_an_encoding_that_is_named_is_used_or_refused() -> None:
    big5 = "name\r\n靈芝\r\n".encode("big5")

    assert cells(big5, encoding="big5") == [{"name": "靈芝"}]
    assert cells("name\r\n喆\r\n".encode("gbk"), encoding="gbk") == [{"name": "喆"}]
    for wide in ("utf-16", "utf-16-le", "utf-16-be"):
        assert cells("name\r\n松茸\r\n".encode(wide), encoding="utf-16") == [{"name": "松茸"}]
    with pytest.raises(WrongEncoding, match="utf-8"):
        sheet("name\r\n松茸\r\n".encode("gbk"), encoding="utf-8")


@pytest.mark.parametrize(
    "text",
    [
        "name,grams\nx,5\n",
        "name;grams\nx;5\n",
        "name\tgrams\r\nx\t5\r\n",
        "sep=;\r\nname;grams\r\nx;5\r\n",
        '"sep=;"\r\nname;grams\r\nx;5\r\n',
        "NAME , Grams \r\nx,5\r\n",
        "name,grams,\r\nx,5,\r\n",
        "name,grams,,,\r\nx,5\r\n",
        "name,grams\rx,5\r",
        '"name","grams"\r\n"x","5"\r\n',
        "\r\n,,\r\nname,grams\r\nx,5\r\n",
        "name,grams\r\n,\r\n , \r\n\r\n\u3000,\r\nx,5\r\n,,,\r\n",
        "name,grams\r\nx,5,,\r\n",
        "\ufeffname,grams\r\nx,5\r\n",
    ],
)
def test_the_form_that_a_program_gave_a_sheet_does_not_matter(text: str) -> None:
    assert cells(text) == [{"name": "x", "grams": 5}]


def test_a_separator_that_is_named_is_used() -> None:
    assert cells("name;grams\nx,y;5\n", separator="semicolon") == [{"name": "x,y", "grams": 5}]
    assert sheet("name;grams\nx;5\n", separator="comma").errors


def test_a_mistake_is_named_by_the_line_where_its_row_begins() -> None:
    found = sheet('sep=,\n\nname,grams\n"two\nlines",5\n,,\n"two\nlines",x\n\nx,y\n')

    assert [row.line for row in found.rows] == [4]
    assert found.rows[0].cells["name"] == "two lines"
    assert [(error.line, error.column) for error in found.errors] == [(7, "grams"), (10, "grams")]


def test_a_quotation_mark_that_is_not_closed_is_named_by_its_line() -> None:
    (error,) = sheet('name,grams\nx,5\n"y,6\nz,7\n').errors

    assert (error.line, error.column) == (3, None)
    assert "quotation mark" in error.message


def test_columns_that_are_missing_unknown_or_there_twice_are_named() -> None:
    found = sheet("grams,Colour,grams\n5,red,6\n").errors

    assert [(error.line, error.column) for error in found] == [
        (1, "name"),
        (1, "colour"),
        (1, "grams"),
    ]


def test_a_column_that_is_absent_is_no_empty_cell() -> None:
    assert cells("name\nx\n") == [{"name": "x"}]
    assert cells("name,grams\nx,\n") == [{"name": "x", "grams": None}]


@pytest.mark.parametrize("tail", ["", "x", ",x"])
def test_a_header_of_sixty_thousand_separators_costs_nothing(tail: str) -> None:
    began = process_time()

    found = sheet("name,grams" + "," * 60_000 + tail + "\nx,5" + "," * 60_000 + "\n")

    assert process_time() - began < 0.5
    assert bool(found.errors) == bool(tail)


def test_a_file_full_of_mistakes_is_not_read_to_its_end() -> None:
    found = sheet("name,grams\n" + "x,y\n" * 19_000)

    assert 500 < len(found.errors) < 3000


def test_more_rows_than_a_file_may_have_are_refused_and_empty_ones_do_not_count() -> None:
    assert not sheet("name\n" + "x\n,\n" * 20_000).errors
    assert sheet("name\n" + "x\n" * 20_001).errors[0].line == 20_002


# --- Cells ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12500", 12500),
        ("-5", -5),
        ("１２５００", 12500),
        ("12,500", 12500),
        ("1,234,567", 1234567),
        ("12 500", 12500),
        ("12\u00a0500", 12500),
        ("1.234.567", 1234567),
        ("5.0", 5),
        ("5.00", 5),
        (" 5 ", 5),
    ],
)
def test_a_whole_number_is_read_as_programs_write_it(text: str, value: int) -> None:
    assert cell("grams", text) == value


@pytest.mark.parametrize(
    "text", ["12.500", "1e3", "1,23", "12,5000", "1,234.567", "0,500", "5.5", "٥", "0x10", "1_000"]
)
def test_a_number_that_is_not_whole_or_has_two_readings_is_refused(text: str) -> None:
    assert isinstance(cell("grams", text), str)


def test_a_comma_is_no_thousands_separator_where_it_separates_decimals() -> None:
    assert "two readings" in cell("grams", "12,500", separator="semicolon")
    assert cell("grams", "1,234,567", separator="semicolon") == 1234567


@pytest.mark.parametrize(
    ("text", "separator", "value"),
    [
        ("29.87", "comma", 29.87),
        ("29,87", "comma", 29.87),
        ("29,87", "semicolon", 29.87),
        ("29,875", "semicolon", 29.875),
        ("29.875", "comma", 29.875),
        ("-93", "tab", -93.0),
    ],
)
def test_a_decimal_number_is_read_where_it_has_one_reading(
    text: str, separator: str, value: float
) -> None:
    form = {} if separator == "comma" else {"separator": separator}

    assert cell("degrees", text, **form) == value


def test_what_may_be_thousands_is_no_decimal_number() -> None:
    assert "thousands" in cell("degrees", "29,875")
    assert "thousands" in cell("degrees", "29.875", separator="semicolon")
    for text in ("nan", "inf", "1e3", "1,234.5", "٥"):
        assert isinstance(cell("degrees", text), str)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-16",
        "2026/11/16",
        "2026.11.16",
        "20261116",
        "2026年11月16日",
        "2026/11/16 0:00",
        "2026-11-16 00:00:00",
        "16/11/2026",
        "11/16/2026",
        "16.11.2026",
        "16-11-2026",
    ],
)
def test_a_date_is_read_where_day_and_month_are_certain(text: str) -> None:
    assert cell("picked", text) == date(2026, 11, 16)


def test_a_date_of_two_readings_is_refused_until_its_order_is_named() -> None:
    assert "two readings" in cell("picked", "5/11/2026")
    assert cell("picked", "5/11/2026", dates="dmy") == date(2026, 11, 5)
    assert cell("picked", "5/11/2026", dates="mdy") == date(2026, 5, 11)
    assert cell("picked", "5/5/2026") == date(2026, 5, 5)
    assert "calendar" in cell("picked", "16/11/2026", dates="mdy")


@pytest.mark.parametrize(
    "text", ["16.11.26", "26-11-16", "46342", "2026-02-30", "31/4/2026", "2026/11/16 8:00", "soon"]
)
def test_what_is_no_date_is_refused(text: str) -> None:
    assert isinstance(cell("picked", text), str)


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("2026-11-16T08:00:00Z", 8),
        ("2026-11-16T08:00:00+08:00", 0),
        ("2026/11/16 8:00", 0),
        ("2026/11/16 16:00:00", 8),
        ("16/11/2026 16:00", 8),
    ],
)
def test_a_moment_without_an_offset_is_a_time_of_the_place(text: str, hour: int) -> None:
    assert cell("begins", text) == datetime(2026, 11, 16, hour, tzinfo=UTC)


def test_a_time_that_no_clock_shows_is_refused() -> None:
    assert isinstance(cell("begins", "2026/11/16 25:00"), str)
    assert isinstance(cell("begins", "2026-11-16T08:00"), datetime)


@pytest.mark.parametrize(
    ("text", "value"),
    [("yes", True), ("TRUE", True), ("是", True), ("No", False), ("FALSE", False), ("否", False)],
)
def test_yes_and_no_are_read_as_programs_write_them(text: str, value: bool) -> None:
    assert cell("fresh", text) is value


def test_the_checks_of_a_field_are_those_of_json() -> None:
    found = sheet("name,picked,grams\n" + "x" * 61 + ",9999-12-31," + "9" * 19 + "\n").errors

    assert [error.column for error in found] == ["name", "picked", "grams"]
    assert "60 characters" in found[0].message


def test_a_list_is_separated_by_what_people_use() -> None:
    assert cell("roles", "producer company") == ["producer", "company"]
    assert cell("roles", "producer、company; centre") == ["producer", "company", "centre"]


# --- What is written -----------------------------------------------------------------------------


def test_an_export_begins_with_a_mark_and_reads_back_as_it_was() -> None:
    moment = datetime(2026, 11, 16, 8, 0, 0, 123, tzinfo=UTC)
    row = ('松茸, "A"', -5, 29.87, date(2026, 11, 16), moment, True, ["producer", "centre"])

    text = write(COLUMNS, [row, ("x", None, None, None, None, False, [])])

    assert text.startswith("\ufeffname,grams,degrees,picked,begins,fresh,roles\r\n")
    first, second = cells(text)
    assert tuple(first.values()) == row
    assert (second["grams"], second["fresh"]) == (None, False)


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+86 138", "-5", "@SUM(A1)", "'=1", "''=1", "＝1", "=cmd|' /C calc'!A0", "\t=1"],
)
def test_no_cell_can_be_taken_for_a_formula(text: str) -> None:
    (row,) = list(csv.reader(io.StringIO(write(["name"], [[text]]).removeprefix("\ufeffname\r\n"))))

    assert row[0].startswith("'")
    assert unguarded(row[0]) == text


@given(st.text())
@example("'=x")
@example("'")
def test_the_guard_is_taken_off_again(text: str) -> None:
    assert unguarded(guarded(text)) == text


@given(st.lists(st.text(min_size=1, max_size=60).map(normalised).filter(bool), min_size=1))
def test_any_text_survives_an_export_and_an_import(names: list[str]) -> None:
    text = write(["name"], [[name[:60].strip()] for name in names])

    assert [row["name"] for row in cells(text)] == [normalised(name[:60].strip()) for name in names]


@given(
    st.binary(max_size=400)
    | st.text(alphabet="name,grams;\t\"'\r\n=\x00\ufeff1松", max_size=200).map(str.encode)
)
@example(b"")
@example(b"\xef\xbb\xbf")
@example(b"\xff\xfe")
@example(b"\xff\xfea")
@example(b"name\n" + b"x" * 200_000 + b"\n")
@example(b'name\n"' + b"x\n" * 100_000)
@example(b"name\n\xff\n" * 2)
def test_no_bytes_bring_the_reader_down(data: bytes) -> None:
    try:
        found = sheet(data)
    except NotCsv as error:
        assert error.detail
    else:
        assert found.rows or found.errors or b"name" in data or b"n\x00a\x00m\x00e" in data


@pytest.mark.parametrize("encoding", ["utf-16", "gb18030", "big5", "utf-8"])
@given(st.binary(max_size=200))
def test_no_bytes_bring_the_reader_down_in_an_encoding_that_is_named(
    encoding: str, data: bytes
) -> None:
    with suppress(NotCsv, WrongEncoding):
        sheet(data, encoding=encoding)
