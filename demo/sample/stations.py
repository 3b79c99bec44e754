"""The stations of the sample that sell at a counter: each has one till and a stock to keep."""

from dataclasses import dataclass

from demo.sample.sites import BAHE, Site

#: Goods for the shelf of every station: SKU → packs to keep in stock.
SHELF = {"HONEY-1": 6, "TSAMPA-1": 5, "BLACK-FUNGUS-1": 6, "MATSUTAKE-DRIED-2": 4}
#: Special goods that a township keeps in stock besides.
TOWNSHIPS: dict[str, dict[str, int]] = {
    BAHE: {"MATSUTAKE-DRIED-1": 5, "CORDYCEPS-2000": 3},
    "540402102": {"GANODERMA-2": 4, "MOREL-DRIED-2": 4},
    "540423101": {"MEDOG-TEA-1": 8, "MEDOG-TEA-2": 8},
    "540424103": {"GASTRODIA-2": 5},
}
#: Townships whose first village has a till, too.
WITH_VILLAGE = (BAHE, "540402102")


@dataclass(frozen=True)
class Station:
    """A site with a till, and how many packs of each SKU it keeps in stock."""

    site_code: str
    name: str
    shelf: tuple[tuple[str, int], ...]


def stations(sites: list[Site]) -> list[Station]:
    """Return the stations that sell: four townships and two villages."""
    names = {site.code: site.names["zh"] for site in sites}
    villages = [
        min(site.code for site in sites if site.parent_code == township)
        for township in WITH_VILLAGE
    ]
    return [
        *(_station(code, names, SHELF | own) for code, own in TOWNSHIPS.items()),
        *(_station(code, names, SHELF) for code in villages),
    ]


def _station(code: str, names: dict[str, str], shelf: dict[str, int]) -> Station:
    return Station(code, f"{names[code]}收银台", tuple(shelf.items()))
