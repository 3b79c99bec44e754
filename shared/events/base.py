"""What every contract is made of: the base, and the types that several contracts share."""

from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal, get_args

from msgspec import UNSET, Meta, Struct, UnsetType

Unit = Literal["g", "piece"]
Channel = Literal["online", "station", "company", "cooperative"]
PaymentMethod = Literal["cash_on_delivery", "cash_at_station", "prepaid"]
SiteLevel = Literal["centre", "county", "township", "village"]
#: An entry of a till's journal that moves goods over the counter.
StationSaleKind = Literal["sale", "void", "return"]
#: Cash goes into the clerk's custody; what is paid by telephone does not.
CounterPayment = Literal["cash", "mobile"]

UNITS: tuple[Unit, ...] = get_args(Unit)
CHANNELS: tuple[Channel, ...] = get_args(Channel)
PAYMENT_METHODS: tuple[PaymentMethod, ...] = get_args(PaymentMethod)
SITE_LEVELS: tuple[SiteLevel, ...] = get_args(SiteLevel)
STATION_SALE_KINDS: tuple[StationSaleKind, ...] = get_args(StationSaleKind)
COUNTER_PAYMENTS: tuple[CounterPayment, ...] = get_args(CounterPayment)

#: A quantity in the variant's unit (grams or pieces), at least 1.
Quantity = Annotated[int, Meta(ge=1)]
#: An amount of money in fen (1/100 yuan), not negative.
Fen = Annotated[int, Meta(ge=0)]


class Moment(datetime):
    """A moment in UTC. It is written with its offset, `2026-07-15T02:30:00+00:00`.

    A class of its own, since msgspec writes a plain `datetime` with `Z`: the bytes of what was
    published before would differ.
    """

    @classmethod
    def of(cls, moment: datetime) -> "Moment":
        """Return `moment` in UTC.

        Raises:
            ValueError: it has no time zone.
            OverflowError: in UTC it is before the year 1 or after 9999.
        """
        if moment.tzinfo is None:
            raise ValueError("a moment needs its offset from UTC")
        utc = moment.astimezone(UTC)
        return cls.combine(utc.date(), utc.timetz())


class Part(Struct, frozen=True, kw_only=True):
    """A part of a fact, such as a line of an order.

    A reader ignores fields that it does not know: a newer publisher may send them.
    """


class Fact(Part, frozen=True, kw_only=True):
    """One fact. The docstring's first line of each contract is its meaning in the catalogue."""

    routing_key: ClassVar[str]
    #: The field by whose aggregate the events are ordered.
    subject: ClassVar[str]
    #: False: integrators can neither bind it nor read it in the feed.
    public: ClassVar[bool] = True
    #: True: no service listens and no stream keeps it, so it gets its position in the feed
    #: without being sent to the broker, which would return it.
    feed_only: ClassVar[bool] = False


class Names(Part, frozen=True, kw_only=True):
    """A name in the languages that are known; zh is always there."""

    zh: str
    bo: str | UnsetType = UNSET
    en: str | UnsetType = UNSET
