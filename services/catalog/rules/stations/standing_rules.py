"""What standing rules grant to sites, and what is asked back before it spoils.

A rule keeps a quantity of a variant at a site while the centre has stock. Perishable lots are
granted only as far as the site sells them in time, at the rate of its last sales.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from heapq import heapify, heappop, heapreplace
from typing import Generic
from uuid import UUID

from services.catalog.rules.stock.reservations import PickableT

#: Days over which a site's sales are averaged.
SALES_DAYS = 14
#: Days before a lot's last sale day from which on the part that will not sell is asked back.
RETURN_DAYS = 2
#: Steps in which a site is served: more than one, so that sites share what is scarce; few, so
#: that a million packs do not take a million steps.
_STEPS = 8


@dataclass(frozen=True, slots=True)
class Rate:
    """What a site sells of a variant: `quantity` in `days`, at least one."""

    quantity: int
    days: int

    def until(self, day: date, today: date) -> int:
        """Return what it sells from today to `day`, both included."""
        return self.quantity * max(0, (day - today).days + 1) // self.days


def rate_of(sold: int, first_granted_on: date | None, today: date) -> Rate | None:
    """Return a site's rate by what it sold in the last `SALES_DAYS`; None: there is no history.

    If a site has had the variant for fewer days, the rate counts those days. A site that sold
    nothing has a rate only after `SALES_DAYS`. `sold` is below 0 if more came back than was sold.
    """
    if first_granted_on is None:
        return None
    days = min(SALES_DAYS, max(0, (today - first_granted_on).days) + 1)
    if sold <= 0 and days < SALES_DAYS:
        return None
    return Rate(max(0, sold), days)


@dataclass(frozen=True, slots=True)
class Need:
    """A site that should have `keep` of a variant, and what its devices have."""

    site_id: UUID
    keep: int
    rate: Rate | None
    #: What may still be sold there: last sale day (None: it does not spoil) and quantity.
    stock: Sequence[tuple[date | None, int]] = ()
    #: Lots of which the rule grants no more: the site gave them back, or must not sell them.
    refused: frozenset[UUID] = frozenset()


@dataclass(frozen=True, slots=True)
class Grant(Generic[PickableT]):
    """What a site is granted from one lot at one location."""

    site_id: UUID
    source: PickableT
    quantity: int


@dataclass(slots=True)
class _Site:
    need: Need
    pack: int
    today: date
    left: int = 0
    step: int = 1
    stock: list[tuple[date | None, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stock = list(self.need.stock)
        self.left = (self.need.keep - self._there()) // self.pack
        self.step = max(1, self.left // _STEPS)

    def _there(self) -> int:
        return sum(quantity for _, quantity in self.stock)

    def cover(self) -> tuple[bool, Fraction]:
        """Return the key to sort sites by: how many days the stock lasts; no sales come last."""
        rate, there = self.need.rate, self._there()
        if rate is None:  # no history: as if `keep` sold in the usual span
            return False, Fraction(there * SALES_DAYS, self.need.keep)
        if rate.quantity == 0:
            return True, Fraction(there)
        return False, Fraction(there * rate.days, rate.quantity)

    def room(self, sell_by: date | None) -> int:
        """Return how many more packs of a lot the site sells in time, with all that it has."""
        if sell_by is None:
            return self.left
        later = [day for day, _ in self.stock if day is not None and day > sell_by]
        room = min(self._sells(day) - self._sold_by(day) for day in [sell_by, *later])
        return max(0, room) // self.pack

    def _sells(self, day: date) -> int:
        rate = self.need.rate
        # One pack may always be tried: a site that has nothing cannot show that it sells.
        return self.need.keep if rate is None else max(self.pack, rate.until(day, self.today))

    def _sold_by(self, day: date) -> int:
        return sum(quantity for by, quantity in self.stock if by is not None and by <= day)


def share(
    needs: Iterable[Need],
    pickable: Mapping[UUID, Sequence[PickableT]],
    lot_of: Mapping[int, tuple[UUID, date | None]],
    pack: int,
    today: date,
) -> list[Grant[PickableT]]:
    """Return the grants, in whole packs, that bring the stock of each site to its `keep`.

    `pickable`: the sources of each site in picking order; sites may share sources. `lot_of`: the
    lot and its last sale day, by the `id()` of a source. In each step the site whose stock lasts
    least gets some packs. A site gets no more of a lot than it sells in time; a site without a
    history is assumed to sell `keep`.
    """
    sites = [_Site(need, pack, today) for need in needs]
    queue = [(site.cover(), site.need.site_id, site) for site in sites if site.left > 0]
    heapify(queue)
    free: dict[int, int] = {}
    granted: dict[tuple[UUID, int], Grant[PickableT]] = {}
    while queue:
        _, site_id, site = queue[0]
        found = _next(site, pickable.get(site_id, ()), lot_of, free)
        if found is None:
            heappop(queue)
            continue
        source, packs = found
        quantity = packs * pack
        free[id(source)] -= packs
        site.left -= packs
        site.stock.append((lot_of[id(source)][1], quantity))
        before = granted.get((site_id, id(source)))
        granted[site_id, id(source)] = Grant(
            site_id, source, quantity + (before.quantity if before is not None else 0)
        )
        if site.left:
            heapreplace(queue, (site.cover(), site_id, site))
        else:
            heappop(queue)
    return list(granted.values())


def _next(
    site: _Site,
    sources: Sequence[PickableT],
    lot_of: Mapping[int, tuple[UUID, date | None]],
    free: dict[int, int],
) -> tuple[PickableT, int] | None:
    """Return the next source of a site and the number of packs; None: no source is left for it."""
    for source in sources:
        lot_id, sell_by = lot_of[id(source)]
        there = free.setdefault(id(source), source.available // site.pack)
        if there <= 0 or lot_id in site.need.refused:
            continue
        packs = min(there, site.step, site.left, site.room(sell_by))
        if packs > 0:
            return source, packs
    return None


@dataclass(frozen=True, slots=True)
class Perishing:
    """What is left of a perishable lot's allotment, and its last sale day."""

    allotment_id: UUID
    sell_by: date
    remaining: int


def asked_back(held: Iterable[Perishing], rate: Rate | None, today: date) -> dict[UUID, int]:
    """Return how much of each allotment at a site should come back before it spoils.

    On the last sale day and later, all of it. From `RETURN_DAYS` before, the part that the site
    will not sell in time, if it sells first what expires first. Earlier, nothing. A site without a
    history is assumed to sell everything.
    """
    wanted: dict[UUID, int] = {}
    promised = 0
    for each in sorted(held, key=lambda h: (h.sell_by, str(h.allotment_id))):
        if rate is None:
            sold = each.remaining
        else:
            sold = min(each.remaining, max(0, rate.until(each.sell_by, today) - promised))
        promised += sold
        days_left = (each.sell_by - today).days
        if days_left <= 0:
            wanted[each.allotment_id] = each.remaining
        elif days_left <= RETURN_DAYS:
            wanted[each.allotment_id] = each.remaining - sold
        else:
            wanted[each.allotment_id] = 0
    return wanted
