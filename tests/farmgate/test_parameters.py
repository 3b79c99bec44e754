"""What people type as numbers is read as it stands there."""

from collections.abc import Iterator

import click
import pytest

from farmgate.cli import main
from farmgate.parameters import Seconds, WholeNumber, Yuan, json_value

#: Numbers to Python, or to people elsewhere; none of them is safe to guess.
SLIPS = [
    "",
    "-1",
    "1e3",
    "NaN",
    "inf",
    "many",
    "１０",
    "١٠",
    "1_000",
    "1,000",
    "10,00",
    "+5",
    "0x10",
]


@pytest.mark.parametrize(
    ("text", "fen"), [("12", 1200), ("12.5", 1250), ("0.01", 1), (" 3.10", 310), ("0", 0)]
)
def test_yuan_are_read_to_the_fen(text: str, fen: int) -> None:
    assert Yuan().convert(text, None, None) == fen


@pytest.mark.parametrize("text", [*SLIPS, "1.005", ".5", "5.", "¥5", "1 0", "9" * 11])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="no amount"):
        Yuan().convert(text, None, None)


@pytest.mark.parametrize("kind", [WholeNumber(0), Seconds(0, 3600)], ids=["whole", "seconds"])
@pytest.mark.parametrize("text", SLIPS)
def test_what_is_no_number_is_refused(kind: WholeNumber | Seconds, text: str) -> None:
    with pytest.raises(click.BadParameter):
        kind.convert(text, None, None)


@pytest.mark.parametrize(
    "text", ["1e3", "NaN", "-Infinity", "1e400", "１０", "1_0", '{"a":1,"a":2}']
)
def test_json_that_is_typed_has_numbers_in_plain_digits(text: str) -> None:
    with pytest.raises(ValueError):
        json_value(text)


def test_json_that_is_typed_is_read() -> None:
    assert json_value('{"a": [12, 0.5, "1e3", null, true]}') == {"a": [12, 0.5, "1e3", None, True]}


def test_numbers_are_read() -> None:
    assert (
        WholeNumber(0).convert("12", None, None),
        WholeNumber(-5).convert("-5", None, None),
    ) == (12, -5)
    assert Seconds(0, 3600).convert("1.5", None, None) == 1.5


def parameters(command: click.Command) -> Iterator[tuple[str, click.Parameter]]:
    yield from ((f"{command.name} {each.name}", each) for each in command.params)
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from parameters(below)


def test_no_command_reads_a_number_as_python_does() -> None:
    numbers = click.types.IntParamType, click.types.FloatParamType
    read = {name: each.type for name, each in parameters(main) if isinstance(each.type, numbers)}

    assert "grant quantity" in read
    assert {
        name for name, kind in read.items() if not isinstance(kind, (WholeNumber, Seconds))
    } == set()
