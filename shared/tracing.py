"""What caused the present work: carried from a request or event to every event recorded by it."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cause:
    """`correlation_id` names the whole story, `causation_id` the event just before."""

    correlation_id: str
    causation_id: str | None = None
    #: W3C Trace Context, as received; a new one is made for work that nobody traced.
    traceparent: str | None = None


_present: ContextVar[Cause | None] = ContextVar("cause", default=None)


def present() -> Cause:
    """Return the cause of the present work; work that nobody caused begins a story of its own."""
    return _present.get() or Cause(correlation_id=secrets.token_hex(16))


def current() -> Cause | None:
    """Return the cause of the present work, or None when nothing is known to have caused it."""
    return _present.get()


@contextmanager
def caused_by(cause: Cause) -> Iterator[None]:
    """Let everything recorded inside name `cause`."""
    token = _present.set(cause)
    try:
        yield
    finally:
        _present.reset(token)


def new_traceparent() -> str:
    """Return a W3C traceparent with new ids, not sampled."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
