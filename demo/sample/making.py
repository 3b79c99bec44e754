"""The whole sample as values; the same seed and day give the same sample."""

from dataclasses import dataclass
from datetime import date
from random import Random

from demo.sample import goods, producers, sites, stations
from demo.sample.goods import Lot, Variant
from demo.sample.producers import Producer
from demo.sample.sites import Route, Site
from demo.sample.stations import Station

SEED = 540400


@dataclass(frozen=True)
class Sample:
    """Everything that `loading` loads, in the order of loading."""

    sites: list[Site]
    routes: list[Route]
    producers: list[Producer]
    variants: list[Variant]
    lots: list[Lot]
    stations: list[Station]


def make(today: date, seed: int = SEED) -> Sample:
    """Make the sample as it stands on a day (Asia/Shanghai)."""
    # Each part has its own random source: a change in one part does not change the others.
    listed = sites.listed()
    townships = [site for site in listed if site.level == "township"]
    every_site = listed + sites.villages(Random(f"{seed}/villages"), townships)
    farmers = producers.farmers(Random(f"{seed}/farmers"), townships)
    others = producers.cooperatives(Random(f"{seed}/cooperatives"), farmers)
    everyone = farmers + others + producers.companies()
    return Sample(
        sites=every_site,
        routes=sites.routes(listed),
        producers=everyone,
        variants=goods.variants(),
        lots=list(goods.lots(Random(f"{seed}/lots"), today, everyone, listed)),
        stations=stations.stations(every_site),
    )
