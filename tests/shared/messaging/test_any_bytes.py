"""Whatever the bytes of a message say: it takes effect, is ignored or is parked; nothing ends."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, update

from shared.events import OrderPaid
from shared.messaging import consumer, repairs
from shared.messaging.envelope import Unreadable, decode, encode, fact_of, unreadable
from shared.messaging.processing import Processor
from shared.messaging.tables import Inbox, Parked
from shared.runtime import clock
from shared.runtime.database import Database
from shared.runtime.errors import FarmgateError
from shared.runtime.tables import SharedBase
from tests.support import probe
from tests.support.chance import examples

#: JSON that some readers take and others do not, or take for something else.
ODD = [
    *("NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e-400", "-0", "1.5", "true", "null"),
    *("9" * 19, "9" * 25, "9" * 5000, "-1", "[]", "{}", '""', '" "', '" 7"', '"1_0"', '"٣"'),
    *("[" * 63 + "]" * 63, "[" * 900 + "]" * 900, "[" * 100_000, '{"a":1,"a":2}', '{"a":{"":0}}'),
    *('"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '{"\\u0000":"\\ud800"}', '"\\u202e"', '"\x7f"'),
    *(f'"{moment}"' for moment in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00")),
    *(f'"{moment}"' for moment in ("2026-01-01T00:00:00+23:59:59.999999", "2026-W01-1", "9999")),
    *(f'"{"x" * length}"' for length in (255, 256, 100_000)),
    *('"orders.order_paid.v1"', '"orders.order_paid.v99"', '"unreadable"', '"orders."', '".v1"'),
    '"urn:uuid:{0198c7a2-7d4e-7cc0-8a4e-3a1f0e9b2c11}"',
    '"０198c7a2-7d4e-7cc0-8a4e-3a1f0e9b2c11"',
]
VALUES = st.sampled_from(ODD) | st.text(max_size=8).map(json.dumps) | st.floats().map(json.dumps)
ATTRIBUTES = st.sampled_from(
    ["id", "type", "source", "subject", "sequence", "time", "correlationid", "traceparent", "data"]
)
FIELDS = st.sampled_from(["order_id", "order_ref", "amount_fen", "method", "added"])


def written(
    attributes: list[tuple[str, str]], fields: list[tuple[str, str]], cut: int | None
) -> bytes:
    """An event as JSON text with some values replaced or said a second time, and cut short."""
    order_id = uuid4()
    plain = encode(
        fact_of(
            OrderPaid,
            {"order_id": order_id, "order_ref": "ORD-1", "amount_fen": 1, "method": "prepaid"},
        ),
        event_id=uuid4(),
        sequence=1,
        time=clock.now(),
        correlation_id="story",
        causation_id=None,
        traceparent=None,
    )
    document = json.loads(plain)
    data = {name: json.dumps(value) for name, value in document["data"].items()}
    parts = {name: json.dumps(value) for name, value in document.items()}
    parts["data"] = _object([*(data | dict(fields)).items(), *fields[2:]])
    text = _object([*(parts | dict(attributes)).items(), *attributes[2:]])
    return text.encode("utf-8", "surrogatepass")[:cut]


def _object(pairs: list[tuple[str, str]]) -> str:
    return "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in pairs) + "}"


BYTES = st.builds(
    written,
    st.lists(st.tuples(ATTRIBUTES, VALUES), max_size=3),
    st.lists(st.tuples(FIELDS, VALUES), max_size=3),
    st.none() | st.integers(0, 400),
) | st.binary(max_size=50)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """The probe's database."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/probe.db"
    else:
        url = request.getfixturevalue("postgres")("bytes")
    opened = Database(url)
    probe.create_tables(opened)
    yield opened
    opened.close()


def never_unavailable(seconds: float) -> None:
    assert seconds == consumer.ALIVE, "the message can neither be handled nor parked"


def named(body: bytes) -> UUID:
    """Return the id under which the message must be found afterwards."""
    try:
        return decode(body).event_id
    except Unreadable:
        return unreadable(body).event_id


@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@example(body=written([("time", '"0001-01-01T00:00:00+14:00"')], [], None), signed=False, returns=0)
@example(body=written([("sequence", "1e400")], [], None), signed=True, returns=3)
@example(body=written([], [("order_ref", '"\\u0000"')], None), signed=False, returns=None)
@example(body=written([], [("amount_fen", "[" * 100_000)], None), signed=False, returns=None)
@given(body=BYTES, signed=st.booleans(), returns=st.sampled_from([None, 0, 3, "many", True]))
def test_a_message_of_any_bytes_takes_effect_or_is_parked_and_can_be_seen_to(
    database: Database, body: bytes, signed: bool, returns: Any
) -> None:
    """Slow: each of some sixty messages goes all its ways, with a commit for each step."""
    processor = Processor(probe.SERVICE, database)
    message = SimpleNamespace(
        body=body, headers={"x-delivery-count": returns}, properties={"user_id": "orders"}
    )

    consumer._process([message], processor, signed, never_unavailable)

    with database.readers() as session:
        parked = session.scalars(select(Parked)).all()
        names = {row.event_id for row in parked} | set(session.scalars(select(Inbox.event_id)))
    assert named(body) in names or unreadable(body).event_id in names
    for row in parked:
        with database.sessions.begin() as session:
            assert json.dumps(repairs.show(session, row.event_id).payload)
        with database.sessions.begin() as session:
            session.execute(update(Parked).values(state="waiting", next_attempt_at=clock.now()))
        assert processor.retry_parked()
        for changes in ({"order_ref": "ORD-2"}, {"amount_fen": 5}):
            with database.sessions() as session:
                try:
                    repairs.edit(session, row.event_id, "fuzz", "a try", changes=changes)
                    session.flush()
                except FarmgateError:
                    pass  # with what to do about it
        with database.sessions.begin() as session:
            if session.get(Parked, row.event_id) is not None:
                repairs.discard(session, row.event_id, "fuzz", "seen")
    with database.sessions.begin() as session:
        for table in SharedBase.metadata.sorted_tables:
            session.execute(delete(table))
