"""The base class of contracts, and the types that several contracts share."""

from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal, get_args
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

Unit = Literal["g", "piece"]
Channel = Literal["online", "station", "company", "cooperative"]
PaymentMethod = Literal["cash_on_delivery", "cash_at_station", "prepaid"]
SiteLevel = Literal["centre", "county", "township", "village"]
#: The kinds of entries in a till's journal that move goods over the counter.
StationSaleKind = Literal["sale", "void", "return"]
#: Cash goes into the clerk's custody; a mobile payment does not.
CounterPayment = Literal["cash", "mobile"]

UNITS: tuple[Unit, ...] = get_args(Unit)
CHANNELS: tuple[Channel, ...] = get_args(Channel)
#: The channels whose prices everybody may read; the others' are agreed with their buyers.
PUBLIC_CHANNELS: frozenset[Channel] = frozenset({"online", "station"})
PAYMENT_METHODS: tuple[PaymentMethod, ...] = get_args(PaymentMethod)
SITE_LEVELS: tuple[SiteLevel, ...] = get_args(SiteLevel)
STATION_SALE_KINDS: tuple[StationSaleKind, ...] = get_args(StationSaleKind)
COUNTER_PAYMENTS: tuple[CounterPayment, ...] = get_args(CounterPayment)

#: A quantity of a variant, and one that may be 0 or negative.
_OF_GOODS = {"x-unit": "grams or pieces, by the variant's unit"}
Quantity = Annotated[int, Meta(ge=1, extra_json_schema=_OF_GOODS)]
Amount = Annotated[int, Meta(extra_json_schema=_OF_GOODS)]
#: An amount of money.
Fen = Annotated[int, Meta(ge=0, extra_json_schema={"x-unit": "fen (1/100 CNY)"})]
#: A number that counts from 1.
Number = Annotated[int, Meta(ge=1)]


class Moment(datetime):
    """A moment in UTC, encoded with its offset: `2026-07-15T02:30:00+00:00`.

    msgspec would encode a plain `datetime` with `Z`, and the bytes would differ from those of
    earlier versions.
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

    A subscriber ignores unknown fields: a newer publisher may send them.
    """


class Fact(Part, frozen=True, kw_only=True):
    """One fact.

    A contract's docstring and the comments `#:` of its fields are part of its JSON Schema, of
    docs/events.md and of the pages that integrators read.
    """

    routing_key: ClassVar[str]
    #: The field by whose aggregate the events are ordered.
    subject: ClassVar[str]
    #: False: integrators can neither bind a queue to it nor read it in the feed.
    public: ClassVar[bool] = True


class OrderFact(Fact, frozen=True, kw_only=True):
    """A fact of orders about one order."""

    subject = "order_id"

    order_id: UUID
    order_ref: str
    #: The partner that placed the order for its buyers: its token's subject. Absent for others'.
    partner: str | UnsetType = UNSET
    #: The partner's own number of the order, unique among the partner's orders.
    external_ref: str | UnsetType = UNSET


class Names(Part, frozen=True, kw_only=True):
    """A name in several languages; only zh is required."""

    zh: str
    bo: str | UnsetType = UNSET
    en: str | UnsetType = UNSET
