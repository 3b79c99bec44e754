"""Structured logs: one JSON line per event on standard error, without personal data.

Only the fields in `SHOWN` are logged; all others are hidden. A list of forbidden fields would be
incomplete as soon as a field is added. The text of shown fields is also scrubbed of phone numbers,
card numbers and e-mail addresses.
"""

import json
import logging
import re
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any

from shared.runtime import tracing
from shared.runtime.plain import plain

#: Fields that may be shown. Ids and counts only: no names, phones, addresses, bodies or tokens.
SHOWN = frozenset(
    {
        *("timestamp", "level", "event", "service", "module", "logger", "exception", "error"),
        *("correlation_id", "causation_id", "event_id", "event_type", "subject", "sequence"),
        *("method", "route", "status", "milliseconds", "actor", "request_id"),
        *("reason", "attempts", "count", "seconds", "state", "position", "version", "channel"),
        *("loop", "timer", "outbox", "inbox", "queue", "host", "port", "pid", "template"),
        *("kind", "since"),
        *("order_id", "shipment_id", "lot_id", "site_id", "message_id"),
    }
)
HIDDEN = "[hidden]"
#: Mobile numbers, identity and bank card numbers, e-mail addresses. A number next to a letter,
#: digit or hyphen is not matched: it is part of an id.
_PERSONAL = re.compile(
    r"(?<![\w-])(?:(?:\+?86[ -]?)?1[3-9]\d[ -]?\d{4}[ -]?\d{4}|\d{17}[\dXx]|\d{16,19})(?![\w-])"
    r"|(?<![\w-])0\d{2,3}-\d{7,8}(?![\w-])"
    r"|[\w.+-]+@[\w-]+\.[\w.-]+"
)
_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*|whsec_[\w+/=-]+|(?<=://)[^/@\s:]+:[^/@\s]+(?=@)")

Line = MutableMapping[str, Any]


def scrub(text: str) -> str:
    """Return `text` with phone and card numbers, e-mail addresses, tokens and passwords hidden."""
    return _TOKEN.sub(HIDDEN, _PERSONAL.sub(HIDDEN, text))


#: What `exc_info` of `logging` may be: an exception, the current one, or its three parts.
ExcInfo = BaseException | bool | tuple[Any, Any, Any] | None


class Log:
    """Writes the lines of one module: what happened in constant words, and fields."""

    def __init__(self, module: str) -> None:
        self.module = module

    def info(self, event: str, **fields: Any) -> None:
        """Log what an operator may want to know."""
        self._write(logging.INFO, event, None, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Log what should not be, and that work goes on."""
        self._write(logging.WARNING, event, None, fields)

    def error(self, event: str, *, exc_info: ExcInfo = None, **fields: Any) -> None:
        """Log that something failed, with the stack trace of an exception if there is one."""
        self._write(logging.ERROR, event, exc_info, fields)

    def exception(self, event: str, **fields: Any) -> None:
        """Log that something failed, with the stack trace of the exception being handled."""
        self._write(logging.ERROR, event, True, fields)

    def critical(self, event: str, **fields: Any) -> None:
        """Log that this process cannot go on."""
        self._write(logging.CRITICAL, event, None, fields)

    def _write(self, level: int, event: str, error: ExcInfo, fields: dict[str, Any]) -> None:
        if level >= _Process.level:
            line = _rendered({"module": self.module, **fields, "event": event}, level, error)
            # The current `sys.stderr`: a test or a supervisor may replace it. One call, so that
            # lines of several threads do not mix.
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()


class _Process:
    """What `configure` set; until then, only warnings are logged."""

    service: str | None = None
    level = logging.WARNING


class _Formatter(logging.Formatter):
    """Formats what libraries log."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"event": record.getMessage(), "logger": record.name}
        return _rendered(line, record.levelno, record.exc_info)


class _Stderr:
    """The current `sys.stderr`, for a handler of `logging`."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def _rendered(line: Line, level: int, error: ExcInfo) -> str:
    """Return the line as JSON, with who wrote it when and because of what."""
    if _Process.service is not None:
        line.setdefault("service", _Process.service)
    cause = tracing.current()
    if cause is not None:
        line.setdefault("correlation_id", cause.correlation_id)
        if cause.causation_id is not None:
            line.setdefault("causation_id", cause.causation_id)
    line["level"] = logging.getLevelName(level).lower()
    line["timestamp"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    if error is True:
        error = sys.exc_info()
    elif isinstance(error, BaseException):
        error = (type(error), error, error.__traceback__)
    if error and error[0] is not None:
        line["exception"] = logging.Formatter().formatException(error)
    for name, value in line.items():
        if name not in SHOWN:
            line[name] = HIDDEN
        elif value is not None and not isinstance(value, (bool, int, float)):
            line[name] = scrub(str(value))
    # Plain: people also read it in a terminal, and UTF-8 cannot encode lone surrogates.
    return plain(json.dumps(line, ensure_ascii=False, default=str))


def configure(service: str) -> None:
    """Log this process's lines as `service`, from level INFO.

    Libraries that use `logging` log in the same format, from level WARNING.
    """
    _Process.service, _Process.level = service, logging.INFO
    handler = logging.StreamHandler(_Stderr())
    handler.setFormatter(_Formatter())
    root = logging.getLogger()
    root.handlers[:] = [h for h in root.handlers if not isinstance(h.formatter, _Formatter)]
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    # pika logs ten lines for a failed connection; our own code logs one.
    logging.getLogger("pika").setLevel(logging.CRITICAL)


def get(name: str) -> Log:
    """Return the logger of a module: `log.info("what happened", field=value)`."""
    return Log(name)
