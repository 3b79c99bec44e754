"""Contracts change without breaking whoever reads them, or the change is refused."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta

from farmgate import contracts
from farmgate.contracts import Contract, Member, breaks, described, main, type_of, written
from shared.events import BY_TYPE, OrderConfirmed, Part, Quantity, SiteOpened
from shared.messaging.envelope import Event, contract_of, decode, encode, load_data, subject_of

EXAMPLES = sorted((Path(__file__).parent / "examples").glob("*.json"))
KEY = "orders.order_noted.v1"


# What was recorded: every example that was ever written can still be read.


def test_every_event_type_has_a_recorded_example() -> None:
    missing = BY_TYPE.keys() - {path.stem for path in EXAMPLES}

    assert not missing, (
        f"No example of {sorted(missing)}: run `python tests/contracts/record_examples.py` "
        "and commit what it writes"
    )


def encoded(event: Event[Any]) -> bytes:
    return encode(
        event.data,
        event_id=event.event_id,
        sequence=event.sequence,
        time=event.time,
        correlation_id=event.correlation_id,
        causation_id=event.causation_id,
        traceparent=event.traceparent,
    )


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_recorded_example_still_says_what_it_said(path: Path) -> None:
    envelope = decode(path.read_bytes())
    contract = contract_of(envelope.type)

    assert envelope.type == path.stem
    assert contract is not None, f"{path.stem} was published once, and stored events have it"
    event = load_data(envelope, contract)
    # A field that the contract does not know any more would be lost here.
    assert encoded(event) == path.read_bytes().removesuffix(b"\n")
    assert event.subject == subject_of(event.data)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_consumer_ignores_what_a_newer_publisher_adds(path: Path) -> None:
    contract = BY_TYPE[path.stem]
    document = json.loads(path.read_bytes())
    newer = document | {"data": with_more(document["data"]), "newattribute": "new"}

    event = load_data(decode(json.dumps(newer)), contract)

    assert newer["data"] != document["data"]
    assert event.data == load_data(decode(path.read_bytes()), contract).data


def with_more(thing: Any) -> Any:
    """Return the same JSON with an unknown field in each of its objects."""
    if isinstance(thing, dict):
        return {name: with_more(inner) for name, inner in thing.items()} | {"added_later": [1]}
    if isinstance(thing, list):
        return [with_more(inner) for inner in thing]
    return thing


# The record: what it says of a contract.


def test_the_record_is_what_the_code_says_and_nothing_broke() -> None:
    assert main(["--check"]) == 0, "run `make docs`, or read what it says above"


def test_the_record_reads_as_it_was_written() -> None:
    assert json.loads(written(described())) == described()
    assert described().keys() == BY_TYPE.keys()


def test_a_contract_is_described_with_the_fields_inside_its_fields() -> None:
    told = described([OrderConfirmed])["orders.order_confirmed.v1"]

    assert told["subject"] == "order_id"
    assert told["public"] is True
    assert told["fields"]["lines"]["type"] == "list of object"
    assert told["fields"]["lines[].lots[].lot_id"] == member("uuid")


def test_an_optional_field_and_one_that_may_be_null_are_described_as_such() -> None:
    told = described([SiteOpened])["logistics.site_opened.v1"]

    assert told["fields"]["names"] == member("object")
    assert told["fields"]["names.bo"] == member(required=False)
    assert told["fields"]["parent_id"] == member("uuid", nullable=True)


def test_allowed_values_and_limits_are_described() -> None:
    class Limited(Part, frozen=True, kw_only=True):
        channel: Literal["online", "station"]
        percent: Annotated[int, Meta(ge=0, le=100)]
        quantity: Quantity
        code: Annotated[str, Meta(min_length=6, max_length=6)]
        words: Annotated[list[Annotated[str, Meta(max_length=9)]], Meta(min_length=1)]

    told = dict(contracts._members(Limited))

    assert told == {
        "channel": member() | {"values": ["online", "station"]},
        "percent": member("integer") | {"least": 0, "most": 100},
        "quantity": member("integer") | {"least": 1},
        "code": member() | {"shortest": 6, "longest": 6},
        "words": member("list of text") | {"shortest": 1, "each": {"longest": 9}},
    }


@pytest.mark.parametrize(
    "check",
    [Meta(pattern="[A-Z]"), Meta(gt=1), Meta(multiple_of=500)],
    ids=["pattern", "exclusive", "multiple"],
)
def test_a_check_that_the_record_has_no_word_for_is_not_left_out(check: Meta) -> None:
    with pytest.raises(TypeError, match="word: the record has no name for"):
        type_of("word", Annotated[int if check.pattern is None else str, check])


# The rules: what is a break, and what is none.


def member(type_: str = "text", *, required: bool = True, nullable: bool = False) -> Member:
    """Return the record of one field."""
    return {"type": type_, "required": required, "nullable": nullable}


def noted() -> Contract:
    """Return the record of a contract that has one field of each sort."""
    return {
        "subject": "order_id",
        "public": True,
        "fields": {
            "order_id": member("uuid"),
            "note": member(),
            "remark": member(required=False),
            "answer": member(nullable=True),
            "words": member("list of text"),
            "lines": member("list of object"),
            "lines[].quantity": member("integer"),
            "lines[].lots": member("list of object"),
            "lines[].lots[].lot_id": member("uuid"),
        },
    }


def limited(allowed: Any, path: str = "note") -> Callable[[Contract], None]:
    """Return the change that lets a field be only what is allowed."""

    def change(contract: Contract) -> None:
        kind = contract["fields"][path]
        contract["fields"][path] = member(kind["type"]) | allowed

    return change


def after(change: Callable[[Contract], object]) -> list[str]:
    """Return the breaks that one change of the contract makes."""
    present = deepcopy(noted())
    change(present)
    return breaks({KEY: noted()}, {KEY: present})


def sentence(change: str) -> str:
    """Return what is said of one change."""
    return (
        f"{KEY}: {change}; leave it unchanged, and add `orders.order_noted.v2` beside it, "
        'as docs/operations.md says under "A new version of an event".'
    )


def test_no_change_is_no_break() -> None:
    assert breaks({KEY: noted()}, {KEY: noted()}) == []


def test_a_new_event_type_is_no_break() -> None:
    assert breaks({}, {KEY: noted()}) == []


def test_an_event_type_that_is_gone_is_a_break() -> None:
    assert breaks({KEY: noted()}, {}) == [sentence("the event type is gone")]


def test_the_next_version_does_not_stand_in_for_the_one_that_is_gone() -> None:
    assert breaks({KEY: noted()}, {"orders.order_noted.v2": noted()}) == [
        sentence("the event type is gone")
    ]


def test_after_the_second_version_the_third_is_asked_for() -> None:
    (said,) = breaks({"orders.order_noted.v2": noted()}, {})

    assert "add `orders.order_noted.v3` beside it" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda c: c.update(subject="site_id"),
            "the subject was `order_id` and is now `site_id`",
        ),
        (lambda c: c.update(public=False), "the event was public and is now internal"),
        (lambda c: c["fields"].pop("note"), "the field `note` is gone"),
        (
            lambda c: c["fields"].pop("lines[].lots[].lot_id"),
            "the field `lines[].lots[].lot_id` is gone",
        ),
        (
            lambda c: c["fields"].update(note=member("integer")),
            "the field `note` was text and is now integer",
        ),
        (
            lambda c: c["fields"].update({"lines[].quantity": member("text")}),
            "the field `lines[].quantity` was integer and is now text",
        ),
        (
            lambda c: c["fields"].update(remark=member()),
            "the field `remark` is now required, and stored events may not have it",
        ),
        (
            lambda c: c["fields"].update(note=member(required=False)),
            "the field `note` is now optional, and its readers require it",
        ),
        (
            lambda c: c["fields"].update(note=member(nullable=True)),
            "the field `note` may now be null, and its readers do not expect that",
        ),
        (
            lambda c: c["fields"].update(answer=member()),
            "the field `answer` may no longer be null, and in stored events it may be",
        ),
        (
            lambda c: c["fields"].update(added=member()),
            "the new field `added` is required, and stored events do not have it",
        ),
        (
            lambda c: c["fields"].update({"lines[].added": member()}),
            "the new field `lines[].added` is required, and stored events do not have it",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_change_that_readers_cannot_follow_is_a_break(
    change: Callable[[Contract], object], said: str
) -> None:
    assert after(change) == [sentence(said)]


NARROWED = "and stored events may not be"
REFUSED = "and its readers refuse that"


@pytest.mark.parametrize(
    ("was", "is_", "said"),
    [
        (
            {"values": ["a", "b", "c"]},
            {"values": ["b"]},
            ["may no longer be `a` or `c`, and stored events may be"],
        ),
        ({"values": ["a"]}, {"values": ["a", "b"]}, [f"may now be `b`, {REFUSED}"]),
        (
            {"values": ["a"]},
            {"values": ["b"]},
            ["may no longer be `a`, and stored events may be", f"may now be `b`, {REFUSED}"],
        ),
        ({}, {"values": ["a", "b"]}, ["must now be `a` or `b`, and stored events may differ"]),
        ({"values": ["a"]}, {}, ["may now be anything, and its readers take only `a`"]),
        ({"values": ["a", "b"]}, {"values": ["b", "a"]}, []),
        ({"least": 0}, {"least": 1}, [f"must now be at least 1, {NARROWED}"]),
        ({"least": 0}, {"least": -1}, [f"may now be less than 0, {REFUSED}"]),
        ({"least": 0}, {}, [f"may now be less than 0, {REFUSED}"]),
        ({}, {"least": 0}, [f"must now be at least 0, {NARROWED}"]),
        ({"most": 9}, {"most": 8}, [f"must now be at most 8, {NARROWED}"]),
        ({"most": 9}, {"most": 10}, [f"may now be more than 9, {REFUSED}"]),
        ({"most": 9}, {}, [f"may now be more than 9, {REFUSED}"]),
        ({}, {"most": 9}, [f"must now be at most 9, {NARROWED}"]),
        ({"least": 1, "most": 9}, {"least": 1, "most": 9}, []),
        ({"shortest": 2}, {"shortest": 1}, [f"may now be shorter than 2, {REFUSED}"]),
        ({"longest": 40}, {"longest": 20}, [f"must now be of a length of at most 20, {NARROWED}"]),
    ],
)
def test_other_values_than_were_recorded_are_a_break(was: Any, is_: Any, said: list[str]) -> None:
    for path, wrap in (("note", dict), ("words[]", lambda allowed: {"each": allowed})):
        before, present = noted(), noted()
        limited(wrap(was), path.removesuffix("[]"))(before)
        limited(wrap(is_), path.removesuffix("[]"))(present)

        found = breaks({KEY: before}, {KEY: present})

        assert found == [sentence(f"the field `{path}` {words}") for words in said]


def test_a_field_of_another_type_says_nothing_of_its_values() -> None:
    assert after(lambda c: c["fields"].update(note=member("integer") | {"least": 1})) == [
        sentence("the field `note` was text and is now integer")
    ]


def test_an_internal_event_that_becomes_public_is_a_break() -> None:
    internal = noted() | {"public": False}

    assert breaks({KEY: internal}, {KEY: noted()}) == [
        sentence("the event was internal and is now public")
    ]


@pytest.mark.parametrize(
    "added",
    [
        {"added": member(required=False)},
        {"added": member(required=False, nullable=True)},
        {"lines[].added": member(required=False)},
        # Whoever sends the new object knows what belongs into it.
        {"added": member("object", required=False), "added.word": member()},
    ],
    ids=lambda value: ",".join(value),
)
def test_a_new_optional_field_is_no_break(added: dict[str, Member]) -> None:
    assert after(lambda c: c["fields"].update(added)) == []


def test_a_list_that_is_gone_is_named_once_without_what_was_inside() -> None:
    def without_lines(contract: Contract) -> None:
        for path in [path for path in contract["fields"] if path.startswith("lines")]:
            del contract["fields"][path]

    assert after(without_lines) == [sentence("the field `lines` is gone")]


def test_a_list_of_another_type_is_named_once_without_what_is_inside_now() -> None:
    def as_object(contract: Contract) -> None:
        for path in [path for path in contract["fields"] if path.startswith("lines")]:
            del contract["fields"][path]
        contract["fields"] |= {"lines": member("object"), "lines.quantity": member("integer")}

    assert after(as_object) == [sentence("the field `lines` was list of object and is now object")]


def test_each_of_several_changes_has_its_sentence() -> None:
    def both(contract: Contract) -> None:
        del contract["fields"]["note"]
        contract["public"] = False

    assert after(both) == [
        sentence("the event was public and is now internal"),
        sentence("the field `note` is gone"),
    ]


# The command: what it compares, and what it refuses to write.


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A record of its own, current to begin with."""
    path = tmp_path / "docs" / "contracts.json"
    monkeypatch.setattr(contracts, "FILE", path)
    assert main(["--accept-break"]) == 0
    return path


def with_field_more(path: Path) -> str:
    """Record a field that the code does not have, and return the record."""
    told = described()
    told["orders.order_placed.v1"]["fields"]["once_there"] = member()
    path.write_text(written(told), encoding="utf-8")
    return written(told)


def test_what_was_just_written_passes_the_check(record: Path) -> None:
    assert main(["--check"]) == 0
    assert record.read_text(encoding="utf-8") == written(described())


@pytest.mark.parametrize("arguments", [["--check"], []])
def test_a_break_is_told_and_not_written(
    record: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    before = with_field_more(record)

    assert main(arguments) == 1
    assert record.read_text(encoding="utf-8") == before
    said = capsys.readouterr().err
    assert "orders.order_placed.v1: the field `once_there` is gone" in said
    assert "add `orders.order_placed.v2` beside it" in said


def test_a_break_that_is_meant_is_written(record: Path) -> None:
    with_field_more(record)

    assert main(["--accept-break"]) == 0
    assert main(["--check"]) == 0


def test_a_record_that_only_lags_behind_fails_the_check_and_may_be_written(
    record: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = described()
    del told["orders.order_placed.v1"]
    record.write_text(written(told), encoding="utf-8")

    assert main(["--check"]) == 1
    assert capsys.readouterr().err == ("docs/contracts.json is out of date: run `make docs`\n")
    assert main([]) == 0
    assert main(["--check"]) == 0


@pytest.mark.parametrize("arguments", [["--check"], []])
def test_a_record_that_is_gone_is_not_written_afresh(
    record: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    record.unlink()

    assert main(arguments) == 1
    assert not record.exists()
    assert "git checkout docs/contracts.json" in capsys.readouterr().err


def test_nobody_checks_and_accepts_a_break_at_once(record: Path) -> None:
    with pytest.raises(SystemExit):
        main(["--check", "--accept-break"])
