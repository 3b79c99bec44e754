"""Goods of the sample: products by grade, prices per channel, lots in season and their stock."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

from demo.sample.producers import Producer
from demo.sample.sites import CENTRE, DATA, Site

#: Channel → price, in percent of the online price of a pack. Plausible examples.
CHANNEL_PERCENT = {"online": 100, "station": 96, "company": 88, "cooperative": 90}
#: Tibetan names, where established ones exist.
TIBETAN = {
    "CORDYCEPS": "དབྱར་རྩྭ་དགུན་འབུ།",
    "SNOW-LOTUS": "གངས་ལྷ་མེ་ཏོག",
    "RHODIOLA": "སྲོ་ལོ་དམར་པོ།",
    "WALNUT": "སྟར་ཀ",
    "APPLE": "ཀུ་ཤུ།",
    "HONEY": "སྦྲང་རྩི།",
    "TSAMPA": "རྩམ་པ།",
}
#: Counties that are known for a product; the others come from anywhere.
HOMES = {
    "MATSUTAKE": ("540421", "540424", "540402"),
    "CORDYCEPS": ("540421", "540424", "540425"),
    "MEDOG-TEA": ("540423",),
    "CHILLI": ("540426",),
    "APPLE": ("540402", "540481"),
    "GASTRODIA": ("540424", "540481"),
}
LOTS_PER_HARVEST = 4
#: The least and the most packs of one lot at the centre.
PACKS = (90, 220)
#: A part of one lot of so many also lies at a site.
SPREAD = 5


@dataclass(frozen=True)
class Variant:
    """One grade of a product, as it is sold."""

    product: str
    sku: str
    grade: str
    names: dict[str, str]
    category: str
    unit: str
    pack_quantity: int
    price_fen: int
    shelf_life_days: int
    storage: str | None
    #: First and last day of the season as (month, day); None: all year.
    season: tuple[tuple[int, int], tuple[int, int]] | None

    @property
    def perishable(self) -> bool:
        """Whether it spoils within a season."""
        return self.shelf_life_days <= 60

    @property
    def min_life_days(self) -> int:
        """Days a lot must still keep when it reaches the buyer."""
        return min(30, self.shelf_life_days // 5)

    def price_in(self, channel: str) -> int:
        """Return the price of a pack in a channel, rounded to 10 fen."""
        return (self.price_fen * CHANNEL_PERCENT[channel] + 500) // 1000 * 10


@dataclass(frozen=True)
class Lot:
    """The goods of one variant that one producer brought on one day, and where they are."""

    code: str
    variant: Variant
    producer: str
    origin: str
    harvest_date: date
    best_before: date
    #: Site code → quantity in the variant's unit.
    stock: tuple[tuple[str, int], ...]


def variants() -> list[Variant]:
    """Return the variants of `products.csv`."""
    with (DATA / "products.csv").open(encoding="utf-8", newline="") as file:
        return [_variant(row) for row in csv.DictReader(file)]


def _variant(row: dict[str, str]) -> Variant:
    names = {"zh": row["name_zh"], "en": row["name_en"]}
    if row["product"] in TIBETAN:
        names["bo"] = TIBETAN[row["product"]]
    season = None
    if row["season"]:
        first, last = (tuple(map(int, day.split("-"))) for day in row["season"].split("/"))
        season = ((first[0], first[1]), (last[0], last[1]))
    return Variant(
        product=row["product"],
        sku=f"{row['product']}-{row['grade'].partition('/')[0]}",
        grade=row["grade"],
        names=names,
        category=row["category"],
        unit=row["unit"],
        pack_quantity=int(row["pack_quantity"]),
        price_fen=int(row["price_fen"]),
        shelf_life_days=int(row["shelf_life_days"]),
        storage=row["storage"] or None,
        season=season,
    )


def in_season(variant: Variant, day: date) -> bool:
    """Return whether a variant is harvested or made on a day."""
    if variant.season is None:
        return True
    first, last = variant.season
    return first <= (day.month, day.day) <= last


def harvests(variant: Variant, today: date) -> list[date]:
    """Return the days of the newest harvests that are still good, newest first.

    Goods that keep for days have a harvest every day, goods that keep for weeks every Monday, and
    others on the first of the month. Days are fixed in the calendar, so a second load soon after
    brings nothing twice.
    """
    days: list[date] = []
    day = today
    while day + timedelta(days=variant.shelf_life_days) > today + timedelta(
        days=variant.min_life_days
    ):
        daily = variant.shelf_life_days <= 14
        weekly = variant.shelf_life_days <= 90 and day.isoweekday() == 1
        monthly = variant.shelf_life_days > 90 and day.day == 1
        if (daily or weekly or monthly) and in_season(variant, day):
            days.append(day)
        if len(days) == 3:
            break
        day -= timedelta(days=1)
    return days


def lots(
    random: Random, today: date, producers: list[Producer], sites: list[Site]
) -> Iterator[Lot]:
    """Make the lots of every variant's newest harvests, each by a producer of the right place.

    A lot depends only on the seed, its variant and its day, not on the day on which it is loaded.
    """
    stations = [site.code for site in sites if site.level in ("county", "township")]
    seed = random.getrandbits(64)
    for variant in variants():
        homes = next((places for key, places in HOMES.items() if variant.sku.startswith(key)), ())
        near = [p for p in producers if not homes or p.township[:6] in homes]
        for day in harvests(variant, today):
            dice = Random(f"{seed}/{variant.sku}/{day}")
            for number, producer in enumerate(dice.sample(near, LOTS_PER_HARVEST), start=1):
                if variant.product.startswith("MATSUTAKE") and number == 1:
                    producer = producers[0]  # the matsutake farmer of Bahe
                packs = dice.randint(*PACKS)
                stock = [(CENTRE, packs * variant.pack_quantity)]
                if dice.randrange(SPREAD) == 0:
                    part = dice.randint(4, 12) * variant.pack_quantity
                    stock.append((dice.choice(stations), part))
                yield Lot(
                    code=f"{variant.sku}-{day:%Y%m%d}-{number:02d}",
                    variant=variant,
                    producer=producer.code,
                    origin=producer.township,
                    harvest_date=day,
                    best_before=day + timedelta(days=variant.shelf_life_days),
                    stock=tuple(stock),
                )
