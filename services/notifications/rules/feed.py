"""Rules of partners' feeds: which events a subscription may get, and which it gets."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import NamedTuple

import msgspec

from shared.events import (
    EVENTS,
    PUBLIC_CHANNELS,
    AllotmentGranted,
    AllotmentOverdrawn,
    AllotmentReturned,
    AvailabilityChanged,
    Fact,
    HandOverRefused,
    LotHeld,
    LotRecalled,
    LotReleased,
    OverdraftSettled,
    PriceChanged,
    ProductListed,
    ProductWithdrawn,
    SiteClosed,
    SiteOpened,
    StationSaleDisputed,
    StationSaleRecorded,
    StockAdjusted,
    StockReceived,
    StockReleased,
)
from shared.runtime.errors import Forbidden, Unprocessable


def _is_about_an_order(contract: type[Fact]) -> bool:
    fields = {field.name for field in msgspec.structs.fields(contract)}
    publisher = contract.routing_key.partition(".")[0]
    return contract.public and "order_id" in fields and publisher in ("orders", "logistics")


#: The events of an order and of its shipment. A partner gets them of its own orders.
ORDER_EVENTS = tuple(contract for contract in EVENTS if _is_about_an_order(contract))
#: Events about goods and sites that a partner gets when its types name them.
LISTING_EVENTS: tuple[type[Fact], ...] = (
    ProductListed,
    ProductWithdrawn,
    PriceChanged,
    AvailabilityChanged,
    SiteOpened,
    SiteClosed,
)
#: What an operator may grant besides: the events of each grant.
GRANTS: Mapping[str, tuple[type[Fact], ...]] = {
    #: Of everybody's orders.
    "orders": ORDER_EVENTS,
    #: What stations sell, the cash that they take for it, and the stock that they hold.
    "station_sales": (
        StationSaleRecorded,
        StationSaleDisputed,
        AllotmentGranted,
        AllotmentReturned,
        AllotmentOverdrawn,
        OverdraftSettled,
        HandOverRefused,
    ),
    #: Lots with their producers, and their stock.
    "lots": (LotReleased, LotHeld, LotRecalled, StockReceived, StockAdjusted, StockReleased),
    #: Prices that are not public, of one channel each; see `is_open`.
    "company_prices": (PriceChanged,),
    "cooperative_prices": (PriceChanged,),
}
#: Patterns in a subscription, and characters of one, at most.
MOST_PATTERNS, LONGEST_PATTERN = 50, 100

#: Their types.
OF_ORDERS = frozenset(contract.routing_key for contract in ORDER_EVENTS)
_OF_LISTING = frozenset(contract.routing_key for contract in LISTING_EVENTS)
#: Every event type that can be in a feed.
FEED_TYPES = frozenset(
    contract.routing_key
    for contracts in (ORDER_EVENTS, LISTING_EVENTS, *GRANTS.values())
    for contract in contracts
)


class UnknownTypes(Unprocessable):
    """Raised when a pattern matches no event type that a feed can have."""


class NotGranted(Forbidden):
    """Raised when a partner chooses event types that need an operator's grant."""


def types_among(known: Iterable[str], patterns: Sequence[str]) -> frozenset[str]:
    """Return those of the `known` types that match one of `patterns`; without patterns, all."""
    return frozenset(
        type_
        for type_ in known
        if not patterns or any(fnmatchcase(type_, pattern) for pattern in patterns)
    )


class Wanted(NamedTuple):
    """The event types of a subscription: those of the partner's own orders, and those of all."""

    own: frozenset[str]
    wide: frozenset[str]


@lru_cache(4096)
def wanted(patterns: tuple[str, ...], grants: tuple[str, ...]) -> Wanted:
    """Return the event types that enter the feed of a subscription with these types and grants."""
    granted = {contract.routing_key for name in grants for contract in GRANTS.get(name, ())}
    # Listings are open to everybody, and only for those who ask: by default they would be noise.
    open_ = _OF_LISTING if patterns else frozenset()
    return Wanted(types_among(OF_ORDERS, patterns), types_among(granted | open_, patterns))


def is_open(fact: Fact, grants: Collection[str]) -> bool:
    """Tell whether a feed with these grants may have this fact, if it may have facts of its type.

    Of prices, those of the public channels are open; another channel's need a grant.
    """
    if not isinstance(fact, PriceChanged):
        return True
    return fact.channel in PUBLIC_CHANNELS or f"{fact.channel}_prices" in grants


def check_patterns(patterns: Sequence[str], grants: Collection[str]) -> None:
    """Check that each pattern matches a type that a subscription with these grants may have.

    Raises:
        UnknownTypes: a pattern matches no event type.
        NotGranted: a pattern only matches types that need another grant.
    """
    types = wanted(("*",), tuple(grants))
    for pattern in patterns:
        if not types_among(FEED_TYPES, (pattern,)):
            raise UnknownTypes(f"{pattern} matches no event type; docs/events.md lists them.")
        if not types_among(types.own | types.wide, (pattern,)):
            raise NotGranted(f"{pattern} only matches events that an operator must grant you.")
