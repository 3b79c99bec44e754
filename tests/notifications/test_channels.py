"""Ways out: the file that takes each message once, and gateways that cannot tell."""

import json
import os
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import apprise
import pytest

from services.notifications import channels
from services.notifications.app import create_app
from services.notifications.channels import AppriseChannel, FileChannel, channels_of
from services.notifications.texts import Text
from services.notifications.use_cases import Outgoing
from shared.runtime.config import Settings
from shared.runtime.errors import Misconfigured
from shared.runtime.ids import new_id

DAY = date(2026, 8, 20)


def a_message(**changes: Any) -> Outgoing:
    """Return a message on its way out."""
    return Outgoing(
        **{
            "message_id": new_id(),
            "attempt": 1,
            "person": "buyer:dolma",
            "phone": "+8613889041234",
            "template": "order_confirmed",
            "text": Text("zh", "订单已确认", "订单 ORD-7KQ2M9XH 已确认"),
            "channels": ("file", "apprise"),
            "day": DAY,
        }
        | changes
    )


def read(folder: Path, day: date = DAY) -> list[dict[str, Any]]:
    lines = (folder / f"{day.isoformat()}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_a_message_is_one_line_without_the_phone_number(tmp_path):
    message = a_message()

    results = FileChannel(tmp_path).send([message])

    (line,) = read(tmp_path)
    assert results == [channels.TAKEN]
    assert line["message_id"] == str(message.message_id)
    assert line["body"] == "订单 ORD-7KQ2M9XH 已确认"
    assert line["phone"] == "+86138****1234"
    assert "13889041234" not in json.dumps(line)


def test_a_repeated_message_is_in_the_file_once(tmp_path):
    channel = FileChannel(tmp_path)
    message, other = a_message(), a_message()
    channel.send([message])

    again = a_message(message_id=message.message_id, attempt=2)
    results = channel.send([again, other])

    ids = [line["message_id"] for line in read(tmp_path)]
    assert results == [channels.TAKEN, channels.TAKEN]
    assert ids == [str(message.message_id), str(other.message_id)]


def test_a_line_that_was_torn_by_a_crash_is_cut_off(tmp_path):
    channel = FileChannel(tmp_path)
    first, torn = a_message(), a_message()
    channel.send([first, torn])
    path = tmp_path / "2026-08-20.jsonl"
    path.write_bytes(path.read_bytes()[:-20])

    channel.send([a_message(message_id=torn.message_id, attempt=2)])

    assert [line["message_id"] for line in read(tmp_path)] == [
        str(first.message_id),
        str(torn.message_id),
    ]


def test_a_file_that_holds_nothing_but_a_torn_line_is_begun_anew(tmp_path):
    (tmp_path / "2026-08-20.jsonl").write_bytes(b'{"message_id": "' + b"x" * 9000)

    FileChannel(tmp_path).send([a_message()])

    assert len(read(tmp_path)) == 1


def test_a_folder_that_cannot_be_written_is_a_reason_to_try_again(tmp_path):
    (tmp_path / "messages").write_text("a file where the folder should be")

    (result,) = FileChannel(tmp_path / "messages").send([a_message()])

    assert result.reason is not None and not result.final


def test_files_of_past_days_are_erased(tmp_path):
    channel = FileChannel(tmp_path)
    channel.send([a_message(day=date(2026, 7, 1)), a_message()])

    channel.erase_before(date(2026, 8, 1))

    assert [path.name for path in tmp_path.iterdir()] == ["2026-08-20.jsonl"]


class Gateway:
    """Stands for what is not ours: the gateways behind Apprise."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.addresses: list[str] = []
        self.bodies: list[str] = []

    def add(self, address: str) -> bool:
        self.addresses.append(address)
        return not address.startswith("bad")

    def notify(self, title: str, body: str, **options: Any) -> bool:
        self.bodies.append(body)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """A gateway that takes everything."""
    made = Gateway(True, True, True)
    monkeypatch.setattr(apprise, "Apprise", lambda: made)
    return made


def test_a_gateways_address_is_filled_with_the_persons_number(gateway):
    channel = AppriseChannel(["sms://key@{phone}", "other://key/{digits}", "room://key"])

    results = channel.send([a_message(phone="138 8904 1234")])

    assert results == [channels.TAKEN]
    assert gateway.addresses == [
        "sms://key@%2B8613889041234",
        "other://key/8613889041234",
        "room://key",
    ]


def test_a_message_without_a_number_goes_only_where_none_is_needed(gateway):
    channel = AppriseChannel(["sms://key@{phone}", "room://key"])

    channel.send([a_message(phone=None)])

    assert gateway.addresses == ["room://key"]
    assert not channel.needs_phone


@pytest.mark.parametrize("phone", ["12", "1-800-FLOWERS", "13800138000 ext 5", "?"])
def test_a_number_that_is_none_is_never_tried_again(gateway, phone):
    (result,) = AppriseChannel(["sms://key@{phone}"]).send([a_message(phone=phone)])

    assert (result.reason, result.final) == ("phone_malformed", True)
    assert gateway.bodies == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(False, "gateway_refused"), (ValueError("sms://secret@13889041234"), "gateway_ValueError")],
)
def test_a_gateways_refusal_is_told_without_its_words(gateway, answer, reason, caplog):
    gateway.answers = [answer]

    (result,) = AppriseChannel(["sms://secret@{phone}"]).send([a_message()])

    assert (result.reason, result.final) == (reason, False)
    assert "secret" not in caplog.text and "13889041234" not in caplog.text


# Apprise's own plugins import a module that Python 3.13 no longer has; it copes.
@pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")
def test_apprise_itself_understands_the_addresses_we_document():
    for address in ("json://127.0.0.1:9/{digits}", "jsons://user:pw@gateway.test/{phone}"):
        filled = address.replace("{digits}", "86138").replace("{phone}", "%2B86138")
        assert apprise.Apprise().add(filled)


def settings(tmp_path: Path, **environment: str) -> Settings:
    return Settings.from_environment(
        "notifications", {"FARMGATE_DATA": str(tmp_path), **environment}
    )


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({}, ["file"]),
        ({"FARMGATE_NOTIFICATIONS_APPRISE": "json://a\n# no\n\njson://b"}, ["apprise"]),
        (
            {
                "FARMGATE_NOTIFICATIONS_APPRISE": "json://a",
                "FARMGATE_NOTIFICATIONS_CHANNELS": "file, apprise",
            },
            ["file", "apprise"],
        ),
        ({"FARMGATE_NOTIFICATIONS_CHANNELS": ""}, []),
    ],
)
def test_channels_follow_the_settings(tmp_path, environment, names):
    assert [each.name for each in channels_of(settings(tmp_path, **environment))] == names


def test_gateways_addresses_are_read_from_a_file(tmp_path):
    (tmp_path / "urls").write_text("json://a\n")

    (channel,) = channels_of(
        settings(tmp_path, FARMGATE_NOTIFICATIONS_APPRISE_FILE=str(tmp_path / "urls"))
    )

    assert isinstance(channel, AppriseChannel) and channel.urls == ("json://a",)


@pytest.mark.parametrize("names", ["pigeon", "apprise"])
def test_a_channel_that_cannot_work_is_refused(tmp_path, names):
    with pytest.raises(Misconfigured, match="FARMGATE_NOTIFICATIONS"):
        channels_of(settings(tmp_path, FARMGATE_NOTIFICATIONS_CHANNELS=names))


@pytest.mark.parametrize(
    "wrong",
    [
        {"FARMGATE_NOTIFICATIONS_CHANNELS": "pigeon"},
        {"FARMGATE_NOTIFICATIONS_COUNTRIES": "XX"},
        {"FARMGATE_CONTACT_DAYS": "soon"},
    ],
)
def test_a_wrong_setting_of_the_timers_ends_the_application_at_its_start(tmp_path, wrong):
    with pytest.raises(Misconfigured, match=next(iter(wrong))):
        create_app(settings(tmp_path, **wrong))


WRITER = """
import sys
from datetime import date
from pathlib import Path
from uuid import UUID
from services.notifications.channels import FileChannel
from services.notifications.texts import Text
from services.notifications.use_cases import Outgoing

channel = FileChannel(Path(sys.argv[1]))
for number in range(int(sys.argv[2]), 100_000):
    batch = [
        Outgoing(UUID(int=number * 50 + n), 1, "buyer:x", None, "t", Text("zh", "t", "b" * 500),
                 ("file",), date(2026, 8, 20))
        for n in range(50)
    ]
    channel.send(batch)
    print(number, flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_each_message_once(tmp_path):
    """Kill the writer, hand its last batch over again, as the next claim would: all are there."""
    done = -1
    for round_ in range(5):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(done + 1)]
        root = Path(__file__).parents[2]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as writer:
            assert writer.stdout is not None
            for _ in range(3 + round_):
                done = int(writer.stdout.readline())
            os.kill(writer.pid, signal.SIGKILL)
            done += len(writer.stdout.read().splitlines())
        done += 1  # in doubt: maybe written, maybe torn, maybe not begun
        FileChannel(tmp_path).send(
            [a_message(message_id=UUID(int=done * 50 + n), attempt=2) for n in range(50)]
        )

    ids = [UUID(line["message_id"]).int for line in read(tmp_path)]

    assert ids == list(range((done + 1) * 50))
