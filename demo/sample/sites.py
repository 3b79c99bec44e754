"""The sites of the sample: the listed ones, and a hundred invented villages below them."""

import csv
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

DATA = Path(__file__).parent / "data"
CENTRE = "540400"
#: Bahe Town, home of the sample's matsutake farmer.
BAHE = "540421103"
VILLAGES = 100

#: Tibetan names, where established ones exist.
TIBETAN = {
    "540402": "བྲག་ཡིབ་ཆུས།",
    "540421": "ཀོང་པོ་རྒྱ་མདའ་རྫོང་།",
    "540481": "སྨན་གླིང་གྲོང་ཁྱེར།",
    "540423": "མེ་ཏོག་རྫོང་།",
    "540424": "སྤོ་མེས་རྫོང་།",
    "540425": "རྫ་ཡུལ་རྫོང་།",
    "540426": "སྣང་རྫོང་།",
}
#: Parts of invented village names: a direction, and a landmark.
WHERE = (("上", "Shang"), ("下", "Xia"), ("东", "Dong"), ("西", "Xi"), ("新", "Xin"))
WHAT = (
    ("泉", "quan"),
    ("溪", "xi"),
    ("坪", "ping"),
    ("林", "lin"),
    ("桃", "tao"),
    ("岭", "ling"),
    ("坝", "ba"),
    ("桥", "qiao"),
    ("松", "song"),
    ("湖", "hu"),
    ("谷", "gu"),
    ("滩", "tan"),
)
HOURS = {"county": "09:00-18:00", "township": "09:30-17:30", "village": "10:00-16:00"}


@dataclass(frozen=True)
class Site:
    """One site for logistics."""

    code: str
    level: str
    parent_code: str | None
    names: dict[str, str]
    latitude: float | None = None
    longitude: float | None = None

    def request(self) -> dict[str, Any]:
        """Return the body of the request that opens it, without unknown fields."""
        fields: dict[str, Any] = {
            "parent_code": self.parent_code,
            "latitude": self.latitude,
            "longitude": self.longitude,
            "opening_hours": HOURS.get(self.level),
        }
        given = {name: value for name, value in fields.items() if value is not None}
        return {"code": self.code, "level": self.level, "names": self.names} | given


@dataclass(frozen=True)
class Route:
    """A connection that the tree of sites alone does not describe well enough."""

    from_code: str
    to_code: str
    hours: int
    days: list[int] = field(default_factory=lambda: [1, 2, 3, 4, 5, 6, 7])
    cold: bool = False


def listed() -> list[Site]:
    """Return the centre, the counties and the townships, parents first."""
    with (DATA / "sites.csv").open(encoding="utf-8", newline="") as file:
        return [
            Site(
                code=row["code"],
                level=row["level"],
                parent_code=row["parent"] or None,
                names={"zh": row["name_zh"], "en": row["name_en"]}
                | ({"bo": TIBETAN[row["code"]]} if row["code"] in TIBETAN else {}),
                latitude=float(row["latitude"]) if row["latitude"] else None,
                longitude=float(row["longitude"]) if row["longitude"] else None,
            )
            for row in csv.DictReader(file)
        ]


def villages(random: Random, townships: list[Site]) -> list[Site]:
    """Make `VILLAGES` villages: one or two below each township, names used once in each."""
    made: list[Site] = []
    for index in range(VILLAGES):
        township = townships[index % len(townships)]
        taken = {site.names["zh"] for site in made if site.parent_code == township.code}
        while True:
            where, what = random.choice(WHERE), random.choice(WHAT)
            if f"{where[0]}{what[0]}村" not in taken:
                break
        number = 201 + index // len(townships)
        names = {"zh": f"{where[0]}{what[0]}村", "en": f"{where[1]}{what[1]} Village"}
        made.append(Site(f"{township.code}{number}", "village", township.code, names))
    return made


def routes(sites: list[Site]) -> list[Route]:
    """Return the lorry routes from the centre to the counties; their lorries keep goods cold.

    Hours are plausible examples for mountain roads, not measurements; Medog and Zayu are far.
    """
    hours = {"540402": 1, "540421": 3, "540481": 2, "540423": 9, "540424": 6, "540425": 14}
    return [
        Route(CENTRE, site.code, hours.get(site.code, 6), cold=True)
        for site in sites
        if site.level == "county"
    ]
