"""Channels: each hands messages to a file or gateway that reaches people.

Delivery is at least once. A message is claimed, handed over and recorded, in that order. If a
sender dies after it handed a message over and before it recorded that, the message is handed over
again when the lease ends. The file channel checks whether it has the message already, so it
delivers exactly once. Gateways behind Apprise cannot be asked, so the message that was being sent
when a sender died may arrive twice.

A channel never logs or reports what it sends, to whom, or where its addresses lead.
"""

import fcntl
import json
import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import quote

from services.notifications.rules.messages import CHANNELS, Result
from services.notifications.use_cases import Outgoing
from shared.runtime import clock, phones
from shared.runtime.config import Settings, read
from shared.runtime.errors import Misconfigured

TAKEN = Result()


class Channel(Protocol):
    """Something that takes messages for people."""

    name: str
    #: How many messages are claimed and recorded together. 1: a crash repeats one at most.
    at_once: int
    needs_phone: bool

    def send(self, messages: Sequence[Outgoing]) -> list[Result]:
        """Hand the messages over and return the result of each; raises nothing."""
        ...


class FileChannel:
    """Appends messages to `<folder>/<day>.jsonl`, one JSON object a line, each exactly once.

    The stand-in for a gateway in the embedded default, and an interface for a script that
    feeds a modem. The day is that of the message's cause, so a repeat meets the same file.
    """

    name = "file"
    at_once = 500
    needs_phone = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def send(self, messages: Sequence[Outgoing]) -> list[Result]:
        """Append the messages that are not in the file yet; on disk when this returns."""
        by_day: defaultdict[date, list[Outgoing]] = defaultdict(list)
        for message in messages:
            by_day[message.day].append(message)
        failed: dict[date, Result] = {}
        for day, of_day in by_day.items():
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                with (self.folder / f"{day.isoformat()}.jsonl").open("a+b") as file:
                    _append(file, of_day)
            except OSError as error:
                failed[day] = Result(f"file_{(error.strerror or 'error').replace(' ', '_')}"[:40])
        return [failed.get(message.day, TAKEN) for message in messages]

    def erase_before(self, day: date) -> None:
        """Delete the files of days before `day`."""
        for path in self.folder.glob("*.jsonl"):
            with suppress(ValueError, FileNotFoundError):
                if date.fromisoformat(path.stem) < day:
                    path.unlink()


def _append(file: BinaryIO, messages: Sequence[Outgoing]) -> None:
    fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed, or the process dies
    _cut_torn_line(file)
    # A first attempt cannot be in the file; looking for it would cost a read of the whole day.
    repeated = {str(message.message_id) for message in messages if message.attempt > 1}
    written = _written(file, repeated) if repeated else set()
    lines = [_line(m) for m in messages if str(m.message_id) not in written]
    file.write(b"".join(lines))
    file.flush()
    os.fsync(file.fileno())


def _cut_torn_line(file: BinaryIO) -> None:
    """Remove an incomplete last line: its writer died, and its message comes again."""
    end = file.seek(0, os.SEEK_END)
    keep = end
    while keep > 0:
        start = max(0, keep - 4096)
        file.seek(start)
        newline = file.read(keep - start).rfind(b"\n")
        if newline >= 0:
            keep = start + newline + 1
            break
        keep = start
    if keep < end:
        file.truncate(keep)
    file.seek(0, os.SEEK_END)


def _written(file: BinaryIO, wanted: Iterable[str]) -> set[str]:
    file.seek(0)
    left = set(wanted)
    found = {each for line in file if (each := json.loads(line)["message_id"]) in left}
    file.seek(0, os.SEEK_END)
    return found


def _line(message: Outgoing) -> bytes:
    return (
        json.dumps(
            {
                "message_id": str(message.message_id),
                "at": clock.rfc3339(clock.now()),
                "to": message.person,
                "phone": masked(message.phone),
                "template": message.template,
                "language": message.text.language,
                "title": message.text.title,
                "body": message.text.body,
            },
            ensure_ascii=False,
        )
        + "\n"
    ).encode()


def masked(phone: str | None) -> str | None:
    """Return a phone number with only its ends: enough to recognise one's own."""
    if phone is None:
        return None
    return f"{phone[:-8]}****{phone[-4:]}" if phone.startswith("+") else f"****{phone[-2:]}"


class AppriseChannel:
    """Hands messages to gateways that Apprise knows: SMS, chat robots, e-mail.

    `urls` are the operator's, never a user's: they hold secrets, and Apprise calls whatever
    they name. `{phone}` in one stands for the person's number in E.164, `{digits}` for the same
    without its plus.
    """

    name = "apprise"
    at_once = 1

    def __init__(self, urls: Sequence[str]) -> None:
        self.urls = tuple(urls)
        self.needs_phone = all("{phone}" in url or "{digits}" in url for url in urls)

    def send(self, messages: Sequence[Outgoing]) -> list[Result]:
        """Hand each message to every gateway; it is taken if all of them take it."""
        return [self._send(message) for message in messages]

    def _send(self, message: Outgoing) -> Result:
        # Imported when first needed: it loads its many plugins, and most installs have none.
        import apprise

        # It logs addresses, which hold secrets and phone numbers.
        logging.getLogger("apprise").disabled = True
        phone = _e164(message.phone)
        if phone is None and self.needs_phone:
            return Result("phone_malformed", final=True)
        gateways: Any = apprise.Apprise()
        for url in self.urls:
            filled = url.replace("{phone}", quote(phone or "", safe="")).replace(
                "{digits}", (phone or "").removeprefix("+")
            )
            if ("{phone}" in url or "{digits}" in url) and phone is None:
                continue
            if not gateways.add(filled):
                return Result("gateway_address_malformed")
        try:
            taken = gateways.notify(
                title=message.text.title, body=message.text.body, interpret_escapes=False
            )
        except Exception as error:
            # Plugins raise what they like; the text of it may quote the address.
            return Result(f"gateway_{type(error).__name__}"[:40])
        return TAKEN if taken else Result("gateway_refused")


def _e164(phone: str | None) -> str | None:
    try:
        return None if phone is None else phones.e164(phone)
    except phones.NotAPhone:
        # A till took it offline: its order carries a flag for the operator.
        return None


def channels_of(settings: Settings) -> list[Channel]:
    """Return the channels that the settings name.

    `FARMGATE_NOTIFICATIONS_APPRISE` (better `…_APPRISE_FILE`) holds gateways' addresses, one a
    line; without any, `FARMGATE_NOTIFICATIONS_CHANNELS` is `file`, else `apprise`.

    Raises:
        Misconfigured: a channel is unknown, or apprise has no address.
    """
    environment = settings.environment
    lines = read(environment, "FARMGATE_NOTIFICATIONS_APPRISE", "").splitlines()
    urls = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    default = "apprise" if urls else "file"
    names = read(environment, "FARMGATE_NOTIFICATIONS_CHANNELS", default).split(",")
    channels: list[Channel] = []
    for name in dict.fromkeys(each.strip() for each in names if each.strip()):
        if name not in CHANNELS:
            raise Misconfigured(
                f"FARMGATE_NOTIFICATIONS_CHANNELS names {name!r}; there are {', '.join(CHANNELS)}."
            )
        if name == "apprise" and not urls:
            raise Misconfigured(
                "Set FARMGATE_NOTIFICATIONS_APPRISE_FILE: the apprise channel needs addresses."
            )
        channels.append(AppriseChannel(urls) if name == "apprise" else file_channel(settings))
    return channels


def file_channel(settings: Settings) -> FileChannel:
    """Return the channel that writes under the data folder."""
    return FileChannel(settings.data / "messages")


def days_kept(days: int) -> date:
    """Return the first calendar day that is kept if `days` days are kept."""
    return clock.today() - timedelta(days=days)
