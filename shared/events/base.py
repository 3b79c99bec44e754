"""What every contract is made of: the base, fields, and the words that several contracts share."""

from typing import Any, ClassVar

from marshmallow import EXCLUDE, Schema, fields, validate

UNITS = ("g", "piece")
CHANNELS = ("online", "station", "company", "cooperative")
PAYMENT_METHODS = ("cash_on_delivery", "cash_at_station", "prepaid")
SITE_LEVELS = ("centre", "county", "township", "village")
#: What happens at a counter and moves goods.
STATION_SALE_KINDS = ("sale", "void", "return")
#: Cash goes into the clerk's custody; what is paid by telephone does not.
COUNTER_PAYMENTS = ("cash", "mobile")


class Event(Schema):
    """One fact. The docstring's first line of each contract is its meaning in the catalogue."""

    class Meta:
        # A newer publisher of the same major version may send fields this reader does not know.
        unknown = EXCLUDE

    routing_key: ClassVar[str]
    subject: ClassVar[str]
    #: False: integrators can neither bind it nor read it in the feed.
    public: ClassVar[bool] = True
    #: True: no service listens and no stream keeps it, so it gets its position in the feed
    #: without being sent to the broker, which would return it.
    feed_only: ClassVar[bool] = False


class Names(Schema):
    """A name in the languages that are known; zh is always there."""

    class Meta:
        unknown = EXCLUDE

    zh = fields.String(required=True)
    bo = fields.String()
    en = fields.String()


def quantity(**metadata: Any) -> fields.Integer:
    """Return a required field for a quantity in the variant's unit, at least 1."""
    return fields.Integer(required=True, strict=True, validate=validate.Range(min=1), **metadata)


def fen() -> fields.Integer:
    """Return a required field for an amount of money in fen, not negative."""
    return fields.Integer(required=True, strict=True, validate=validate.Range(min=0))
