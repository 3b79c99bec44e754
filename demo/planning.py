"""Plans the demo's orders from a seed and from the goods on sale."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from demo.stories import STORIES, Story

#: More of a variant than any sample has, but not more than an order may ask for.
EXCESSIVE = 9_000_000
#: The most packs of one line.
MOST_PACKS = 3
#: Channel → percentage of the orders.
CHANNELS = {"online": 55, "station": 20, "company": 15, "cooperative": 10}
#: A landline number of Nyingchi for each order, so that no SMS gateway reaches a stranger.
PHONE = "0894-580{:04d}"
BUYERS = 40
LANGUAGES = ("zh", "zh", "bo", "en")


@dataclass(frozen=True)
class Offer:
    """A variant that is on sale."""

    variant_id: str
    sku: str
    pack_quantity: int
    #: The quantity that the centre may sell, in the variant's unit.
    available: int


@dataclass(frozen=True)
class PlannedOrder:
    """One order of the demo, not placed yet."""

    number: int
    story: Story
    request: dict[str, Any]

    @property
    def quantities(self) -> Counter[str]:
        """The quantities of the order, by variant id."""
        asked: Counter[str] = Counter()
        for line in self.request["lines"]:
            asked[line["variant_id"]] += line["quantity"]
        return asked


def shares(total: int, weights: Sequence[int]) -> list[int]:
    """Split `total` by `weights` into whole numbers that sum to it, by largest remainder."""
    whole = sum(weights)
    parts = [total * weight // whole for weight in weights]
    order = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for index in order[: total - sum(parts)]:
        parts[index] += 1
    return parts


def plan(
    seed: int, count: int, offers: Sequence[Offer], site_ids: Sequence[str]
) -> list[PlannedOrder]:
    """Return `count` orders in the order in which they are placed.

    `offers` and `site_ids` must have the same order on every system. Ids differ between systems,
    so they must not influence the plan.
    """
    random = Random(f"{seed}/orders")
    counts = shares(count, [story.share for story in STORIES])
    stories = [story for story, n in zip(STORIES, counts, strict=True) for _ in range(n)]
    random.shuffle(stories)
    return [
        PlannedOrder(number, story, _request(random, number, story, offers, site_ids))
        for number, story in enumerate(stories, start=1)
    ]


def _request(
    random: Random,
    number: int,
    story: Story,
    offers: Sequence[Offer],
    site_ids: Sequence[str],
) -> dict[str, Any]:
    channel = random.choices(list(CHANNELS), list(CHANNELS.values()))[0]
    language = random.choice(LANGUAGES)
    count = story.lines or random.choices((1, 2, 3, 4, 12), (50, 25, 14, 8, 3))[0]
    lines = []
    for offer in random.sample(offers, min(count, len(offers))):
        quantity = random.randint(1, MOST_PACKS) * offer.pack_quantity
        lines.append({"variant_id": offer.variant_id, "quantity": quantity})
    if story.excessive:
        last = next(o for o in offers if o.variant_id == lines[-1]["variant_id"])
        lines[-1]["quantity"] = EXCESSIVE // last.pack_quantity * last.pack_quantity
    if story.prepaid:
        method = "prepaid"
    else:
        method = "cash_at_station" if story.collect else "cash_on_delivery"
    contact: dict[str, Any] = {
        "name": f"示例买家{random.randint(1, 99)}",
        "phone": PHONE.format(number % 10_000),
    }
    if not story.collect:
        contact["address"] = f"示例路{random.randint(1, 200)}号"
    request: dict[str, Any] = {
        "channel": channel,
        "payment_method": method,
        "site_id": random.choice(site_ids),
        "collect": story.collect,
        "lines": lines,
        "contact": contact | {"language": language},
    }
    buyer = random.randint(1, BUYERS)
    if random.random() < 0.6:
        request["buyer_id"] = f"demo-buyer-{buyer:02d}"
    return request


def needed(orders: Sequence[PlannedOrder]) -> Counter[str]:
    """Return the most that the orders can reserve at the same time, by variant id."""
    total: Counter[str] = Counter()
    for order in orders:
        if not order.story.excessive:
            total += order.quantities
    return total


def shortages(orders: Sequence[PlannedOrder], offers: Sequence[Offer]) -> Mapping[str, int]:
    """Return the stock that the orders lack, by SKU; excessive orders do not count."""
    wanted = needed(orders)
    return {
        offer.sku: wanted[offer.variant_id] - offer.available
        for offer in offers
        if wanted[offer.variant_id] > offer.available
    }
