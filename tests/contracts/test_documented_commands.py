"""What the pages tell people to type is there: every `farmgate …` and every `make …`."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from farmgate.cli import Commands

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "tests" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
FENCED = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def typed(page: Path, program: str) -> Iterator[str]:
    """Yield what follows the program's name in each of the page's commands."""
    text = page.read_text("utf-8")
    lines = [line for block in FENCED.findall(text) for line in block.splitlines()]
    lines += INLINE.findall(FENCED.sub("", text))
    for line in lines:
        command = re.sub(r"(^|\s)#.*", "", line)
        # Also behind a container's or the environment's path, and with variables before it.
        if found := re.match(rf"^(?:.*\s|\$ |\S*/)?{program} (.+)$", command):
            yield found[1]


def wrong(line: str) -> str | None:
    """Say what of a `farmgate` command is not there."""
    command: click.Command = Commands("farmgate")
    context = click.Context(command)
    words = [word for word in shlex.split(line) if word not in {"|", "&&"}]
    while isinstance(command, click.Group) and words:
        word = words.pop(0)
        if word.startswith(("-", "…")) or word[0].isupper():
            return None
        # `parked list|show` names several.
        names = word.split("|")
        found = [command.get_command(context, name) for name in names]
        if None in found:
            return f"{command.name} has no {names[found.index(None)]}"
        command = found[0] or command
    known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    for word in words:
        option = word.strip("[]").partition("=")[0]
        if option.startswith("--") and option not in known | {"--help"}:
            return f"{command.name} has no option {option}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_tells_to_type_is_there(page: Path) -> None:
    problems = [
        f"farmgate {line}: {why}" for line in typed(page, "farmgate") if (why := wrong(line))
    ]
    for line in typed(page, "make"):
        target = line.split()[0].rstrip(",.;")
        if re.fullmatch("[a-z-]+", target) and target not in TARGETS:
            problems.append(f"make {line}: no such target")

    assert problems == []


def test_a_command_that_is_not_there_is_told() -> None:
    assert wrong("parked lst") == "parked has no lst"
    assert wrong("parked list --al") == "list has no option --al"
    assert wrong("parked list --all --service orders") is None


def test_the_pages_are_full_of_commands() -> None:
    assert sum(len(list(typed(page, "farmgate"))) for page in PAGES) > 60
