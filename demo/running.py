"""Run the whole demo: plan the orders, take them through their stories, compare the stock."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import date, timedelta
from time import monotonic
from typing import Any

from demo import books, planning
from demo.living import Life, Lived
from demo.payments import Provider
from demo.planning import Offer, PlannedOrder
from demo.stories import Step
from farmgate.client import Client
from farmgate.failures import Failed
from shared.runtime import clock

#: Orders under way at once.
THREADS = 12
#: Seconds for the last events to take effect after the last order's end.
SETTLING_SECONDS = 90.0
LOOK = 0.25


@dataclass
class Result:
    """What the demo found."""

    lives: list[Lived]
    before: dict[str, books.Stock]
    after: dict[str, books.Stock]
    #: What does not balance, one sentence each.
    wrong: list[str] = field(default_factory=list)

    @property
    def troubled(self) -> list[Lived]:
        """The orders that did not end as their story does."""
        return [lived for lived in self.lives if lived.trouble is not None]

    @property
    def balanced(self) -> bool:
        """Whether the books balance."""
        return not self.wrong

    @property
    def outcomes(self) -> Counter[str]:
        """How many orders ended in each state."""
        return Counter(lived.state or "none" for lived in self.lives)

    def as_json(self) -> dict[str, Any]:
        """Return the result for scripts, without ids, so that two systems can be compared."""
        return {
            "outcomes": dict(sorted(self.outcomes.items())),
            "stories": dict(sorted(Counter(lived.story.title for lived in self.lives).items())),
            "stock": books.as_json(self.before, self.after),
            "balanced": self.balanced,
            "differences": self.wrong,
            "troubles": [
                {"number": lived.planned.number, "order": lived.order_ref, "what": lived.trouble}
                for lived in self.troubled
            ],
        }


def run(
    client: Client,
    provider: Provider,
    seed: int,
    count: int,
    lived: Callable[[Lived], None],
    waiting: Callable[[str], None],
    patience: float = SETTLING_SECONDS,
) -> Result:
    """Run the demo; it calls `lived` for every order, and `waiting` while balances settle.

    `patience` is how many seconds the balances may take after the last order's end.

    Raises:
        Failed: there is too little on sale for the demo.
    """
    on_sale = offers(client)
    orders = planning.plan(seed, count, on_sale, _sites(client))
    _check_enough(orders, on_sale)
    before = books.read_stock(client)
    stopping = threading.Event()
    life = Life(client, provider, stopping)
    # Orders that wait for their expiry begin first, so that the demo does not end later for them.
    by_patience = sorted(orders, key=lambda order: Step.EXPIRE not in order.story.steps)
    lives: list[Lived] = []
    with ThreadPoolExecutor(THREADS) as pool:
        running = [pool.submit(life.live, order) for order in by_patience]
        try:
            for future in as_completed(running):
                lives.append(future.result())
                lived(lives[-1])
        except BaseException:
            stopping.set()
            pool.shutdown(cancel_futures=True)
            raise
    lives.sort(key=lambda each: each.planned.number)
    return _settle(client, Result(lives, before, {}), waiting, patience)


def _settle(
    client: Client, result: Result, waiting: Callable[[str], None], patience: float
) -> Result:
    # If an order did not end as planned, its goods did not either, and waiting does not help.
    deadline = monotonic() + (LOOK if result.troubled else patience)
    pause = threading.Event()
    while True:
        result.after = books.read_stock(client)
        result.wrong = books.differences(result.before, result.after, result.lives)
        if not result.wrong or monotonic() > deadline:
            return result
        waiting(f"{len(result.wrong)} balances to settle, such as {result.wrong[0]}")
        pause.wait(LOOK)


def offers(client: Client) -> list[Offer]:
    """Return the variants on sale at the centre, sorted by SKU.

    Raises:
        Failed: nothing is on sale.
    """
    variants = {
        variant["variant_id"]: variant
        for product in client.pages("catalog", "/products", status="listed")
        for variant in product["variants"]
    }
    free = _free_at_centre(client, variants, clock.today())
    found = [
        Offer(variant_id, variant["sku"], variant["pack_quantity"], free[variant_id])
        for variant_id, variant in variants.items()
        if free[variant_id] >= planning.MOST_PACKS * variant["pack_quantity"]
    ]
    if not found:
        raise Failed("Nothing is on sale. Load the sample first: farmgate sample load")
    return sorted(found, key=lambda offer: offer.sku)


def _free_at_centre(
    client: Client, variants: Mapping[str, dict[str, Any]], today: date
) -> Counter[str]:
    """Return the free stock at the centre of lots that keep long enough, by variant id."""
    variant_of = {}
    for lot in client.pages("catalog", "/lots", status="released"):
        variant = variants.get(lot["variant_id"])
        if variant is None:
            continue
        keeps_until = lot["best_before"] and date.fromisoformat(lot["best_before"])
        if not keeps_until or keeps_until > today + timedelta(days=variant["min_life_days"]):
            variant_of[lot["lot_id"]] = lot["variant_id"]
    free: Counter[str] = Counter()
    for centre in client.pages("catalog", "/locations", level="centre"):
        place = centre["location_id"]
        for level in client.pages("catalog", "/stock", location_id=place):
            if level["lot_id"] in variant_of:
                free[variant_of[level["lot_id"]]] += level["available"]
    return free


def _sites(client: Client) -> list[str]:
    """Return the ids of the sites of buyers, sorted by code because ids differ between systems."""
    sites = sorted(
        (site["code"], site["site_id"])
        for site in client.pages("logistics", "/sites", open=True)
        if site["level"] != "centre"
    )
    if not sites:
        raise Failed("There is no site to deliver to. Load the sample first: farmgate sample load")
    return [site_id for _, site_id in sites]


def _check_enough(orders: list[PlannedOrder], on_sale: list[Offer]) -> None:
    short = planning.shortages(orders, on_sale)
    if short:
        named = ", ".join(f"{sku} ({missing} more)" for sku, missing in sorted(short.items()))
        raise Failed(
            f"There is too little stock for the demo's orders: {named}. Load another harvest "
            "(farmgate sample load --seed N), receive stock, or send fewer orders (--orders)."
        )
