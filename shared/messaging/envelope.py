"""Encodes facts as CloudEvents 1.0 in structured JSON, and decodes them.

The outbox stores the encoded bytes; broker, stream and feed do not change them. Source: CloudEvents
1.0.2, with the extensions *sequence* and *distributed tracing*.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Generic, TypeAlias, TypeVar
from uuid import NAMESPACE_OID, UUID, uuid5

import msgspec
from marshmallow import ValidationError
from msgspec import UNSET, UnsetType

from shared.events import BY_TYPE, Fact, Moment
from shared.runtime import strict_json
from shared.runtime.clock import in_calendar, now, rfc3339
from shared.runtime.schemas import check_storable

#: Bytes of an event at most. CloudEvents guarantees only 64 KiB through foreign intermediaries, but
#: an order of 200 lines from several lots is larger; see docs/decisions/0002-size-of-events.md.
LARGEST = 262_144
#: Characters of an attribute such as `type` or `subject` at most.
LONGEST_ATTRIBUTE = 255
#: The beginning of the schemas' URIs. They name a schema and are no address: events outlive the
#: host that an address would contain; see docs/decisions/0019-a-schema-has-a-name.md.
SCHEMAS = "urn:farmgate:events:"
CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
_DIGITS = re.compile(r"[0-9]{1,19}")
_TYPE = re.compile(r"^([a-z]+)\.([a-z][a-z0-9_]*)\.v([1-9][0-9]*)$")


#: An event's data: a fact of a contract, or JSON that is not validated yet.
Data = TypeVar("Data")
F = TypeVar("F", bound=Fact)


class Unreadable(ValueError):
    """Raised when bytes are no CloudEvent: no JSON, or an attribute is missing or malformed."""


class Invalid(ValueError):
    """Raised when an event's data violate its contract.

    `field` is the path of the invalid value, such as `lines[0].quantity`; `why` is the reason.
    """

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field
        self.why = why


@dataclass(frozen=True, slots=True)
class Event(Generic[Data]):
    """One event: the CloudEvents attributes, the data, and the encoded bytes."""

    event_id: UUID
    type: str
    source: str
    subject: str
    #: The version of the aggregate in the publisher; it grows by one with each event.
    sequence: int
    time: datetime
    correlation_id: str
    causation_id: str | None
    traceparent: str | None
    data: Data
    #: The encoded event.
    body: bytes

    @property
    def publisher(self) -> str:
        """The service that published the event: the first part of its type."""
        return self.type.partition(".")[0]


#: An event whose data are not validated yet; see `load_data`.
Envelope: TypeAlias = Event[Mapping[str, Any]]


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The envelope of every event, a CloudEvent 1.0 in structured JSON.

    A subscriber ignores unknown attributes: a newer publisher may send them.
    """

    #: Always `1.0`.
    specversion: str
    #: Unique among all events, and the same when an event is delivered again.
    id: UUID
    #: The publisher's name for the subject: `/farmgate/<publisher>/<subject>`.
    source: str
    #: `<publisher>.<fact>.v<major version>`; in AMQP also the routing key.
    type: str
    #: The order, shipment or other thing that the fact is about: `<kind>/<id>`.
    subject: str
    #: The moment at which the publisher recorded the fact.
    time: Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
    #: Always `application/json`.
    datacontenttype: str
    #: The URI of the JSON Schema of `data`; absent in events that an older version recorded.
    dataschema: Annotated[str | UnsetType, msgspec.Meta(extra_json_schema={"format": "uri"})] = (
        UNSET
    )
    #: The subject's events are numbered without a gap: ten digits, since CloudEvents compares
    #: sequences as text. Internal events have numbers, too.
    sequence: str
    #: The id of the request or event with which the story began.
    correlationid: str
    #: The fact, by the schema of its type.
    data: Fact
    #: The id of the event that led to this one; absent after a request.
    causationid: str | UnsetType = UNSET
    #: W3C Trace Context.
    traceparent: str | UnsetType = UNSET


def dataschema_of(type_: str) -> str:
    """Return the URI that names the JSON Schema of an event type."""
    return f"{SCHEMAS}{type_}"


def contract_of(type_: str) -> type[Fact] | None:
    """Return the contract of an event type, or None when this version does not know it."""
    return BY_TYPE.get(type_)


def other_version(type_: str, known: Collection[str]) -> str | None:
    """Compare an event type's major version with those in `known`.

    Returns `newer_version` when it is higher than all versions of the fact in `known`, otherwise
    `older_version`; None when `known` contains the type, or no version of the fact.
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
def _subject_kind(contract: type[Fact]) -> str:
    return contract.subject.removesuffix("_id")


def subject_of(fact: Fact) -> str:
    """Return the subject of a fact, such as `order/0198…`."""
    return f"{_subject_kind(type(fact))}/{getattr(fact, fact.subject)}"


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
    """Encode one fact as a CloudEvent.

    Raises:
        ValueError: the event is larger than `LARGEST`.
    """
    publisher = fact.routing_key.partition(".")[0]
    subject = subject_of(fact)
    body = _encoder.encode(
        CloudEvent(
            specversion="1.0",
            id=event_id,
            source=f"/farmgate/{publisher}/{subject}",
            type=fact.routing_key,
            subject=subject,
            time=rfc3339(time),
            datacontenttype="application/json",
            dataschema=dataschema_of(fact.routing_key),
            sequence=f"{sequence:010d}",
            correlationid=correlation_id,
            data=fact,
            causationid=causation_id or UNSET,
            traceparent=traceparent or UNSET,
        )
    )
    if len(body) > LARGEST:
        raise ValueError(
            f"{type(fact).__name__} for {subject} has {len(body)} bytes, over {LARGEST}"
        )
    return body


def _encode_moment(value: Any) -> str:
    assert isinstance(value, Moment)
    return value.isoformat()


_encoder = msgspec.json.Encoder(enc_hook=_encode_moment)


def _decode_moment(kind: type, value: Any) -> Moment:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return Moment.of(moment)


def decode(body: bytes | str) -> Envelope:
    """Decode a CloudEvent without validating its `data`; see `load_data`.

    Raises:
        Unreadable: it is no valid CloudEvent; the message is the reason.
    """
    raw = _bytes_of(body)
    if len(raw) > LARGEST:
        raise Unreadable(f"{len(raw)} bytes, over the limit of {LARGEST}")
    try:
        document = strict_json.read(raw)
    except ValueError as error:
        raise Unreadable(f"not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("specversion") != "1.0":
        raise Unreadable("not a CloudEvent 1.0")
    try:
        if not isinstance(document.get("data"), dict):
            raise Unreadable("data must be an object")
        event_id = UUID(document["id"])
        return Event(
            event_id=event_id,
            type=_attribute(document["type"]),
            source=_attribute(document["source"]),
            subject=_attribute(document["subject"]),
            sequence=_sequence(document["sequence"]),
            time=_moment(document["time"]),
            # Attributes that only serve tracing are no reason to refuse an event.
            correlation_id=_attribute_or_none(document.get("correlationid")) or str(event_id),
            causation_id=_attribute_or_none(document.get("causationid")),
            traceparent=_attribute_or_none(document.get("traceparent")),
            data=document["data"],
            body=raw,
        )
    except KeyError as error:
        raise Unreadable(f"attribute {error} is missing") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise Unreadable(str(error)) from error


def unreadable(body: bytes | str) -> Envelope:
    """Return a placeholder event for unreadable bytes; its id is derived from the bytes."""
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
    """Return a message's body as bytes; a client library may have decoded it."""
    return body.encode(errors="replace") if isinstance(body, str) else bytes(body)


def _sequence(value: Any) -> int:
    """Parse a sequence, a string of digits.

    Raises:
        Unreadable: it is malformed, or too large for a BIGINT column.
    """
    text = str(value) if type(value) is int else value
    if not isinstance(text, str) or not _DIGITS.fullmatch(text) or int(text) >= 2**63:
        raise Unreadable("sequence is not a whole number from 0 to 2^63 - 1")
    return int(text)


def _moment(value: Any) -> datetime:
    try:
        return in_calendar(datetime.fromisoformat(value))
    except ValueError as error:
        raise Unreadable(f"time: {error}") from error


def _attribute(value: Any) -> str:
    """Return `value` if every database can store it: each event must be possible to park.

    Raises:
        Unreadable: it is no string, too long, or has unprintable characters.
    """
    if not (isinstance(value, str) and 0 < len(value) <= LONGEST_ATTRIBUTE and value.isprintable()):
        raise Unreadable(
            f"{value!r:.80} is not a printable text of up to {LONGEST_ATTRIBUTE} characters"
        )
    return value


def _attribute_or_none(value: Any) -> str | None:
    try:
        return _attribute(value)
    except Unreadable:
        return None


def with_data(envelope: Envelope, data: Mapping[str, Any]) -> Envelope:
    """Return the event with other data; id, subject, sequence and time stay the same.

    Raises:
        Unreadable: the data are no JSON, or the event would be larger than `LARGEST`.
    """
    document = json.loads(envelope.body) | {"data": dict(data)}
    try:
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        raw = text.encode()
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"not JSON: {error}") from error
    return decode(raw)


def load_data(envelope: Envelope, contract: type[F]) -> Event[F]:
    """Return the event with its data validated and converted to a fact of `contract`.

    Raises:
        Invalid: a field is missing or has a wrong type, or a text has a character that not every
            database can store.
    """
    if b"\\u" in envelope.body:  # JSON can contain such characters only as escapes
        try:
            check_storable(envelope.data)
        except ValidationError as error:
            raise Invalid("data", str(error.messages)) from error
    return replace(envelope, data=fact_of(contract, envelope.data))  # type: ignore[arg-type,return-value]


def fact_of(contract: type[F], data: Mapping[str, Any]) -> F:
    """Convert `data` to a fact of `contract`; unknown fields are ignored.

    Raises:
        Invalid: a field is missing or has a wrong type.
    """
    fact: F = _convert(data, contract)
    return fact


def check_field(contract: type[Fact], name: str, data: Mapping[str, Any]) -> None:
    """Validate one field of `data`.

    Raises:
        Invalid: it is missing or has a wrong type.
    """
    (field,) = (each for each in msgspec.structs.fields(contract) if each.name == name)
    if name in data:
        _convert(data[name], field.type, name)
    elif field.required:
        raise Invalid(name, "The field is missing.")


def _convert(data: Any, kind: Any, above: str = "") -> Any:
    try:
        return msgspec.convert(data, kind, dec_hook=_decode_moment)
    except (msgspec.ValidationError, OverflowError) as error:
        why, _, path = str(error).partition(" - at ")
        place = above + path.strip("`").removeprefix("$")
        raise Invalid(place.removeprefix(".") or "data", why) from error
