"""Printing changes no effect and no exit code, and no text reaches a terminal as it was typed."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result
from rich.progress import Progress

from demo.offline.buyers import place
from demo.offline.device import Till
from farmgate.cli import main
from farmgate.client import Client
from farmgate.console import Label
from farmgate.failures import Refused
from shared.events import OrderPaid
from shared.messaging import parked
from shared.runtime.config import Settings
from shared.runtime.database import Database
from tests.support import probe
from tests.support.processes import Processes

Named = dict[str, str]

PAID = {"order_ref": "ORD-1", "amount_fen": 1, "method": "prepaid"}

# One system for all of them, so one worker.
pytestmark = pytest.mark.xdist_group("printing")

#: Closes a markup tag, paints, sets a title, turns the direction of writing, forges a line.
PLANTED = "[/x]:tada:\x1b[31m\x9b2J\x1b]0;t\x07\u202eb\n✓ forged\udcff"
#: Parts of answers in which somebody's words stand.
WORDS = frozenset(
    ("clerk", "name", "names", "reason", "note", "detail", "why", "actor", "error", "what", "title")
)
COMMANDS = (
    ("cash", "custody"),
    ("cash", "shifts"),
    ("devices", "list"),
    ("devices", "show", "{device}"),
    ("devices", "holding", "{lot}"),
    ("lots", "concerned", "{lot}"),
    ("devices", "rules"),
    ("devices", "disputes"),
    ("orders", "waiting"),
    ("parked", "list"),
    ("parked", "list", "--all"),
    ("parked", "show", "{event}"),
    ("parked", "history"),
    ("trace", "{order}"),
    ("verify", "--patience", "0"),
    ("doctor",),
    ("cash", "write-off", "T", "{clerk}", "0.01", "--reason", "torn"),
)
#: Those that tell somebody's words: as JSON, and to people.
HELD = {"cash", "list", "show", "holding", "concerned", "disputes", "history", "trace", "verify"}
SEEN = {
    "custody",
    "shifts",
    "show",
    "holding",
    "concerned",
    "disputes",
    "parked",
    "trace",
    "verify",
}


@pytest.fixture(scope="module")
def known() -> Named:
    """What the first test made, for the others."""
    return {}


@pytest.fixture
def named(
    known: Named,
    system: Processes,
    farmgate: Callable[..., Result],
    client: Client,
    request: pytest.FixtureRequest,
) -> Named:
    """A clerk with cash, a device with goods and a dispute, an order, and a parked event."""
    if known:
        return known
    till: Till = request.getfixturevalue("stocked")
    lot, world = request.getfixturevalue("lot"), request.getfixturevalue("world")
    (allotment_id,) = till.store.allotments
    till.sell([(allotment_id, 500)], "cash", "Dolma")
    till.close_shift(9800, "Dolma")
    exported = till.export()
    exported["entries"].append({"number": 99, "kind": "dance"})
    file = request.getfixturevalue("tmp_path") / "till.json"
    file.write_text(json.dumps(exported), encoding="utf-8")
    device = till.store.device_code
    farmgate("devices", "import", device, str(file))
    farmgate("devices", "suspend", device, lot["code"], "--reason", "mould")
    farmgate("devices", "rule", "K", "HONEY-1", "3")
    price = {"price_fen": 9800, "price_unit": 500}
    client.put("catalog", f"/variants/{world['variant_id']}/prices/online", price)
    body = {
        "channel": "online",
        "payment_method": "cash_on_delivery",
        "site_id": world["township_id"],
        "collect": False,
        "lines": [{"variant_id": world["variant_id"], "quantity": 500}],
        "contact": {
            "name": "示例买家",
            "phone": "13900001234",
            "address": "示例路1号",
            "language": "zh",
        },
    }
    order = place(client, body, lambda seconds: False)
    database = Database(Settings.from_environment("logistics", system.environment).database_url)
    event = probe.event_of(OrderPaid, order_id=uuid4(), **PAID)
    other = probe.event_of(OrderPaid, order_id=uuid4(), **PAID)
    with database.sessions.begin() as session:
        parked.park(session, event, "handler_failed", "ValueError", "dead")
        parked.park(session, other, "handler_failed", "ValueError", "dead")
    database.close()
    farmgate("parked", "discard", str(other.event_id), "--why", "a test", "--yes")
    known |= {
        "event": str(event.event_id),
        "device": device,
        "lot": lot["code"],
        "clerk": "Dolma",
        "order": order["order_id"],
    }
    return known


def planted(answer: Any, key: str = "") -> Any:
    """Put bad words into each place of an answer where somebody's words may stand."""
    if isinstance(answer, dict):
        return {name: planted(value, name) for name, value in answer.items()}
    if isinstance(answer, list):
        return [planted(value, key) for value in answer]
    return PLANTED if key in WORDS and isinstance(answer, str) else answer


def is_safe(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


def filled(arguments: tuple[str, ...], named: Named) -> list[str]:
    return [each.format(**named) for each in arguments]


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_bad_words_reach_no_terminal(
    monkeypatch: pytest.MonkeyPatch, named: Named, arguments: tuple[str, ...], as_json: bool
) -> None:
    read = Client._read
    monkeypatch.setattr(Client, "_read", lambda _, *answer: planted(read(*answer)))
    options = ["--json"] if as_json else []

    done = CliRunner().invoke(main, filled(arguments, named) + options)

    assert done.exit_code in (0, 1)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert is_safe(done.output), done.output
    if as_json:
        assert is_there(json.loads(done.stdout)) == bool(set(arguments) & HELD)
    elif set(arguments) & SEEN:
        assert "[/x]" in done.stdout


def is_there(answer: Any) -> bool:
    parts = answer.values() if isinstance(answer, dict) else answer
    return answer == PLANTED or (isinstance(answer, (dict, list)) and any(map(is_there, parts)))


@pytest.mark.parametrize("encoding", ["gbk", "ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_every_encoding_can_be_printed_in(
    named: Named, arguments: tuple[str, ...], as_json: bool, encoding: str
) -> None:
    options = ["--json"] if as_json else []
    command = filled(arguments, named) + options

    done = CliRunner(charset=encoding).invoke(main, command)

    assert done.exit_code == CliRunner().invoke(main, command).exit_code
    assert done.exit_code in (0, 1)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    printed = done.stdout_bytes.decode(encoding)
    assert printed
    if as_json:
        json.loads(printed)


def test_an_error_of_a_service_is_plain(
    monkeypatch: pytest.MonkeyPatch, farmgate: Callable[..., Result]
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise Refused("orders", 409, {"detail": PLANTED, "errors": {"clerk": [PLANTED]}})

    monkeypatch.setattr(Client, "call", refuse)

    said = farmgate("cash", "shifts", code=1).stderr

    assert is_safe(said)
    assert said.count("\n") == 1


def test_wrong_usage_and_questions_are_plain(
    monkeypatch: pytest.MonkeyPatch, farmgate: Callable[..., Result], named: Named
) -> None:
    wrong = farmgate(PLANTED, code=2)
    read = Client._read
    monkeypatch.setattr(Client, "_read", lambda _, *answer: planted(read(*answer)))

    asked = farmgate("devices", "revoke", named["device"], typed="n\n", code=1)

    assert is_safe(wrong.output)
    assert is_safe(asked.output)
    assert r"forged\udcff)?" in asked.stderr


def test_a_progress_bar_is_plain() -> None:
    with Progress(Label(10)) as bars:
        bars.add_task(PLANTED)
        (task,) = bars.tasks

    shown = Label(10).render(task)

    assert shown.plain.isprintable()
    assert shown.spans == []


# --- Real processes -----------------------------------------------------------------------------


def run(system: Processes, shell: str, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """Run a command in a shell that does with its output what `shell` says of "$@"."""
    done = subprocess.run(
        ["bash", "-c", shell, "bash", sys.executable, "-m", "farmgate", *arguments],
        env=os.environ | system.environment | environment,
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout.decode("gb18030"), done.stderr.decode("gb18030")


@pytest.mark.parametrize(
    "shell",
    [
        '"$@"',
        '"$@" >/dev/full',
        '"$@" >/dev/full 2>/dev/full',
        '"$@" >&-',
        '"$@" <&- >&- 2>&-',
        'set -o pipefail; "$@" | true',
    ],
)
def test_what_was_done_is_exit_code_0_wherever_the_output_goes(
    system: Processes, named: Named, shell: str
) -> None:
    command = ("cash", "write-off", "T", named["clerk"], "0.01", "--reason", uuid4().hex)

    code, _, said = run(system, shell, *command, PYTHONIOENCODING="gbk")

    assert (code, said) == (0, "")


def test_a_yuan_sign_that_the_encoding_lacks_is_spelled(system: Processes, named: Named) -> None:
    command = ("cash", "write-off", "T", named["clerk"], "0.01", "--reason", uuid4().hex)

    _, said, _ = run(system, '"$@"', *command, PYTHONIOENCODING="gbk")

    assert said.startswith("CNY 0.01 written off")


def test_results_lost_on_a_full_disk_are_a_failure(system: Processes, named: Named) -> None:
    code, _, said = run(system, '"$@" >/dev/full', "cash", "custody")

    assert code == 1
    assert "could not be written: No space left on device" in said


def test_a_reader_that_has_enough_is_no_failure(system: Processes, named: Named) -> None:
    code, _, said = run(system, 'set -o pipefail; "$@" | true', "cash", "custody", "--json")

    assert (code, said) == (0, "")
