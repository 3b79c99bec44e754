"""A service small enough to test the backbone with: it notes each paid order and says so."""

from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, MetaData, Text, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from shared.events import Fact, OrderCompleted, OrderPaid, StockReleased
from shared.messaging.batch import Batch
from shared.messaging.envelope import Envelope, Event, decode, encode, fact_of
from shared.messaging.service import Service
from shared.runtime import clock
from shared.runtime.database import Database
from shared.runtime.ids import new_id
from shared.runtime.tables import NAMING, SharedBase


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {int: BigInteger(), str: Text()}


class Effect(Base):
    """What one event did: a row, in the order in which events took effect."""

    __tablename__ = "effects"
    effect_id: Mapped[UUID] = mapped_column(primary_key=True)
    event_id: Mapped[UUID]
    subject: Mapped[str]
    sequence: Mapped[int]
    amount_fen: Mapped[int]
    version: Mapped[int] = mapped_column(default=0)


#: Amounts with a meaning of their own.
FAILS = 666


class Broken(RuntimeError):
    """Raised by the handler for the amount `FAILS`, unless `MENDED` is set."""


MENDED: set[str] = set()


def on_order_paid(batch: Batch, event: Event[OrderPaid]) -> None:
    if event.data.amount_fen == FAILS and not MENDED:
        raise Broken("this amount cannot be handled")
    effect = Effect(
        effect_id=new_id(),
        event_id=event.event_id,
        subject=event.subject,
        sequence=event.sequence,
        amount_fen=event.data.amount_fen,
        version=0,
    )
    batch.session.add(effect)
    batch.record(effect, StockReleased(order_id=new_id(), reason="expired"))


def on_order_completed(batch: Batch, event: Event[OrderCompleted]) -> None:
    """Listened to, with no effect."""


SERVICE = Service(
    name="notifications",
    subscriptions={OrderPaid: on_order_paid, OrderCompleted: on_order_completed},
)


#: Whose events the probe listens to.
PUBLISHER = Service("orders", {})


def event_of(contract: type[Fact], sequence: int = 1, **facts: Any) -> Envelope:
    """Return an event of now, as it would come from the broker."""
    body = encode(
        fact_of(contract, facts),
        event_id=new_id(),
        sequence=sequence,
        time=clock.now(),
        correlation_id="story",
        causation_id=None,
        traceparent=None,
    )
    return decode(body)


def create_tables(database: Database) -> None:
    """Make the probe's tables and the messaging tables, empty."""
    for metadata in (Base.metadata, SharedBase.metadata):
        metadata.drop_all(database.engine)
        metadata.create_all(database.engine)


def effects(database: Database) -> list[Effect]:
    """Return what took effect, in order."""
    with database.readers() as session:
        return list(session.scalars(select(Effect).order_by(Effect.effect_id)))
