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
from typing import Any

import structlog

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


def redact(logger: Any, method: str, line: Line) -> Line:
    """Hide every field that is not in `SHOWN`, and scrub the text of the others."""
    for name, value in line.items():
        if name not in SHOWN:
            line[name] = HIDDEN
        elif value is not None and not isinstance(value, (bool, int, float)):
            line[name] = scrub(str(value))
    return line


def _add_cause(logger: Any, method: str, line: Line) -> Line:
    cause = tracing.current()
    if cause is not None:
        line.setdefault("correlation_id", cause.correlation_id)
        if cause.causation_id is not None:
            line.setdefault("causation_id", cause.causation_id)
    return line


class _AddService:
    def __init__(self, service: str | None) -> None:
        self.service = service

    def __call__(self, logger: Any, method: str, line: Line) -> Line:
        if self.service is not None:
            line.setdefault("service", self.service)
        return line


def _dump(line: Any, **_: Any) -> str:
    # Plain: people also read it in a terminal, and UTF-8 cannot encode lone surrogates.
    return plain(json.dumps(line, ensure_ascii=False, default=str))


class _Stderr:
    """The current `sys.stderr`: a test or a supervisor may replace it."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def _configure(service: str | None, level: int) -> None:
    before: list[Any] = [
        _AddService(service),
        _add_cause,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    after: list[Any] = [
        structlog.processors.format_exc_info,
        redact,
        structlog.processors.JSONRenderer(serializer=_dump),
    ]
    structlog.configure(
        processors=[*before, *after],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=_Stderr()),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )
    if service is None:
        return
    handler = logging.StreamHandler(_Stderr())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *before],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *after],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [h for h in root.handlers if not getattr(h, "ours", False)]
    handler.ours = True  # type: ignore[attr-defined]
    root.addHandler(handler)
    root.setLevel(logging.WARNING)


def configure(service: str) -> None:
    """Log this process's lines as `service`, from level INFO.

    Libraries that use `logging` log in the same format, from level WARNING.
    """
    _configure(service, logging.INFO)
    # pika logs ten lines for a failed connection; our own code logs one.
    logging.getLogger("pika").setLevel(logging.CRITICAL)


def get(name: str) -> Any:
    """Return the logger of a module: `log.info("what happened", field=value)`."""
    return structlog.get_logger(module=name)


# Until `configure` is called, only warnings are logged.
_configure(None, logging.WARNING)
