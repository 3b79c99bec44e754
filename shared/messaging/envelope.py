"""CloudEvents 1.0 in structured JSON: how a fact is written down and read again.

The bytes made here are stored in the outbox and travel unchanged through broker, stream and
feed. Source: CloudEvents 1.0.2, with the extensions *sequence* and *distributed tracing*.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any, Generic, TypeAlias, TypeVar
from uuid import NAMESPACE_OID, UUID, uuid5

import msgspec
from marshmallow import ValidationError

from shared.events import BY_TYPE, Fact, Moment
from shared.runtime import strict_json
from shared.runtime.clock import in_calendar, now, rfc3339
from shared.runtime.schemas import check_storable

#: Bytes. CloudEvents only promises 64 KiB through foreign intermediaries, but an order of 200
#: lines from several lots each is larger; see docs/decisions/0002-size-of-events.md.
LARGEST = 262_144
#: Characters of an attribute such as `type` or `subject`.
LONGEST_WORD = 255
CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
_DIGITS = re.compile(r"[0-9]{1,19}")
_TYPE = re.compile(r"^([a-z]+)\.([a-z][a-z0-9_]*)\.v([1-9][0-9]*)$")


#: What an event says: a fact of a contract, or JSON that no contract was held against yet.
Data = TypeVar("Data")
F = TypeVar("F", bound=Fact)


class Unreadable(ValueError):
    """Raised when bytes are no CloudEvent of ours: no JSON, an attribute missing or malformed."""


class Invalid(ValueError):
    """Raised when an event's data are not what its contract says.

    `field` is the path of what is wrong, such as `lines[0].quantity`, and `why` says what is.
    """

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field
        self.why = why


@dataclass(frozen=True, slots=True)
class Event(Generic[Data]):
    """One event as it travels: who said what about which subject, when, and because of what."""

    event_id: UUID
    type: str
    source: str
    subject: str
    #: Version of the subject's aggregate in its publisher; grows by one with each event.
    sequence: int
    time: datetime
    correlation_id: str
    causation_id: str | None
    traceparent: str | None
    data: Data
    #: The bytes as they travel.
    body: bytes

    @property
    def publisher(self) -> str:
        """The service that published it, from the type's first part."""
        return self.type.partition(".")[0]


#: An event of which only the envelope is read; `load_data` reads the rest.
Envelope: TypeAlias = Event[Mapping[str, Any]]


class _Document(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The CloudEvent as it is written, in the order of its fields."""

    specversion: str
    id: UUID
    source: str
    type: str
    subject: str
    time: str
    datacontenttype: str
    #: Zero-padded: CloudEvents compares sequences as text.
    sequence: str
    correlationid: str
    data: Fact
    causationid: str | None = None
    traceparent: str | None = None


def contract_of(type_: str) -> type[Fact] | None:
    """Return the contract of an event type, or None when this code does not know it."""
    return BY_TYPE.get(type_)


def other_version(type_: str, known: Collection[str]) -> str | None:
    """Say how a type stands to the versions of the same fact that are among `known`.

    Returns `newer_version` when it is above them all, `older_version` when it is not, and None
    when it is one of them, or when `known` has no version of that fact.
    """
    match = _TYPE.match(type_)
    if match is None or type_ in known:
        return None
    stem = f"{match[1]}.{match[2]}.v"
    majors = [int(key.removeprefix(stem)) for key in known if key.startswith(stem)]
    if not majors:
        return None
    return "newer_version" if int(match[3]) > max(majors) else "older_version"


@cache
def _named(contract: type[Fact]) -> str:
    return contract.subject.removesuffix("_id")


def subject_of(fact: Fact) -> str:
    """Return the subject of a fact, such as `order/0198…`."""
    return f"{_named(type(fact))}/{getattr(fact, fact.subject)}"


def encode(
    fact: Fact,
    *,
    event_id: UUID,
    sequence: int,
    time: datetime,
    correlation_id: str,
    causation_id: str | None,
    traceparent: str | None,
) -> bytes:
    """Write one fact as a CloudEvent.

    Raises:
        ValueError: the event is larger than `LARGEST`.
    """
    publisher = fact.routing_key.partition(".")[0]
    subject = subject_of(fact)
    body = _encoder.encode(
        _Document(
            specversion="1.0",
            id=event_id,
            source=f"/farmgate/{publisher}/{subject}",
            type=fact.routing_key,
            subject=subject,
            time=rfc3339(time),
            datacontenttype="application/json",
            sequence=f"{sequence:010d}",
            correlationid=correlation_id,
            data=fact,
            causationid=causation_id,
            traceparent=traceparent,
        )
    )
    if len(body) > LARGEST:
        raise ValueError(
            f"{type(fact).__name__} for {subject} has {len(body)} bytes, over {LARGEST}"
        )
    return body


def _written(value: Any) -> str:
    assert isinstance(value, Moment)
    return value.isoformat()


_encoder = msgspec.json.Encoder(enc_hook=_written)


def _read_moment(kind: type, value: Any) -> Moment:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return Moment.of(moment)


def decode(body: bytes | str) -> Envelope:
    """Read a CloudEvent; `data` stays as it came, see `load_data`.

    Raises:
        Unreadable: it is none of ours; the message says why.
    """
    raw = _bytes_of(body)
    if len(raw) > LARGEST:
        raise Unreadable(f"{len(raw)} bytes, over the limit of {LARGEST}")
    try:
        document = strict_json.read(raw)
    except ValueError as error:
        raise Unreadable(f"no JSON: {error}") from error
    if not isinstance(document, dict) or document.get("specversion") != "1.0":
        raise Unreadable("no CloudEvent 1.0")
    try:
        if not isinstance(document.get("data"), dict):
            raise Unreadable("data must be an object")
        event_id = UUID(document["id"])
        return Event(
            event_id=event_id,
            type=_word(document["type"]),
            source=_word(document["source"]),
            subject=_word(document["subject"]),
            sequence=_sequence(document["sequence"]),
            time=_moment(document["time"]),
            # What only helps to follow a story is no reason to refuse it.
            correlation_id=_word_or_none(document.get("correlationid")) or str(event_id),
            causation_id=_word_or_none(document.get("causationid")),
            traceparent=_word_or_none(document.get("traceparent")),
            data=document["data"],
            body=raw,
        )
    except KeyError as error:
        raise Unreadable(f"attribute {error} is missing") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise Unreadable(str(error)) from error


def unreadable(body: bytes | str) -> Envelope:
    """Return a stand-in for bytes that are no event, named by their content."""
    raw = _bytes_of(body)
    event_id = uuid5(NAMESPACE_OID, raw.hex())
    return Event(
        event_id=event_id,
        type="unreadable",
        source="",
        subject=f"unreadable/{event_id}",
        sequence=0,
        time=now(),
        correlation_id=str(event_id),
        causation_id=None,
        traceparent=None,
        data={},
        body=raw[:LARGEST],
    )


def _bytes_of(body: bytes | str) -> bytes:
    """Return a message's body as bytes, whatever a client library made of it."""
    return body.encode(errors="replace") if isinstance(body, str) else bytes(body)


def _sequence(value: Any) -> int:
    """Return a sequence, which is written as a text of digits.

    Raises:
        Unreadable: it is anything else, or larger than what a database counts to.
    """
    text = str(value) if type(value) is int else value
    if not isinstance(text, str) or not _DIGITS.fullmatch(text) or int(text) >= 2**63:
        raise Unreadable("sequence is no whole number from 0 to 2^63 - 1")
    return int(text)


def _moment(value: Any) -> datetime:
    try:
        return in_calendar(datetime.fromisoformat(value))
    except ValueError as error:
        raise Unreadable(f"time: {error}") from error


def _word(value: Any) -> str:
    """Return `value` if every database can store it as a name; no event may fail to be parked.

    Raises:
        Unreadable: it is no text, too long, or has characters such as NUL or half a pair.
    """
    if not (isinstance(value, str) and 0 < len(value) <= LONGEST_WORD and value.isprintable()):
        raise Unreadable(f"{value!r:.80} is no printable text of up to {LONGEST_WORD} characters")
    return value


def _word_or_none(value: Any) -> str | None:
    try:
        return _word(value)
    except Unreadable:
        return None


def with_data(envelope: Envelope, data: Mapping[str, Any]) -> Envelope:
    """Return the event with other data, and all else as it was: id, subject, sequence, time.

    Raises:
        Unreadable: with these data it would be larger than `LARGEST`, or no JSON.
    """
    document = json.loads(envelope.body) | {"data": dict(data)}
    try:
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        raw = text.encode()
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"no JSON: {error}") from error
    return decode(raw)


def load_data(envelope: Envelope, contract: type[F]) -> Event[F]:
    """Return the event with its data read as a fact of `contract`.

    Raises:
        Invalid: a field is missing or has a wrong type, or a text holds what not every database
            can store.
    """
    if b"\\u" in envelope.body:  # spelled out otherwise, no JSON can hold such a character
        try:
            check_storable(envelope.data)
        except ValidationError as error:
            raise Invalid("data", str(error.messages)) from error
    return replace(envelope, data=fact_of(contract, envelope.data))  # type: ignore[arg-type,return-value]


def fact_of(contract: type[F], data: Mapping[str, Any]) -> F:
    """Return the fact that `data` says; fields that the contract does not know are left out.

    Raises:
        Invalid: a field is missing or has a wrong type.
    """
    fact: F = _read(data, contract)
    return fact


def check_field(contract: type[Fact], name: str, data: Mapping[str, Any]) -> None:
    """Check one field of `data` by itself.

    Raises:
        Invalid: it is missing or has a wrong type.
    """
    (field,) = (each for each in msgspec.structs.fields(contract) if each.name == name)
    if name in data:
        _read(data[name], field.type, name)
    elif field.required:
        raise Invalid(name, "The field is missing.")


def _read(data: Any, kind: Any, above: str = "") -> Any:
    try:
        return msgspec.convert(data, kind, dec_hook=_read_moment)
    except (msgspec.ValidationError, OverflowError) as error:
        why, _, path = str(error).partition(" - at ")
        place = above + path.strip("`").removeprefix("$")
        raise Invalid(place.removeprefix(".") or "data", why) from error
