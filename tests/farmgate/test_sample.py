"""The sample is the same for the same seed and day, and true to what is known of the place."""

from collections import Counter
from datetime import date, timedelta

import pytest

from demo.sample import goods
from demo.sample.making import make
from demo.sample.sites import BAHE, CENTRE

SUMMER, WINTER = date(2026, 8, 10), date(2026, 2, 2)


def test_the_same_seed_and_day_make_the_same_sample() -> None:
    assert make(SUMMER, seed=7) == make(SUMMER, seed=7)


def test_another_seed_makes_other_people_and_lots_at_the_same_sites() -> None:
    one, other = make(SUMMER, seed=1), make(SUMMER, seed=2)

    assert one.producers != other.producers
    assert one.lots != other.lots
    assert one.variants == other.variants


def test_the_network_is_complete_and_every_parent_comes_first() -> None:
    sites = make(SUMMER).sites

    levels = Counter(site.level for site in sites)
    assert levels == {"centre": 1, "county": 7, "township": 54, "village": 100}
    seen: set[str | None] = {None}
    for site in sites:
        assert site.parent_code in seen
        seen.add(site.code)
    assert len(seen) == len(sites) + 1


def test_bahe_has_its_matsutake_farmer() -> None:
    sample = make(SUMMER)

    farmer = sample.producers[0]
    assert farmer.township == BAHE
    fresh = [lot for lot in sample.lots if lot.variant.product == "MATSUTAKE-FRESH"]
    assert any(lot.producer == farmer.code and lot.origin == BAHE for lot in fresh)


def test_over_two_hundred_farmers_and_their_cooperatives() -> None:
    producers = make(SUMMER).producers

    roles = Counter(producer.role for producer in producers)
    assert roles["producer"] >= 200
    assert roles["cooperative"] >= 3
    assert roles["company"] >= 3
    farmers = {p.code for p in producers if p.role == "producer"}
    for cooperative in producers:
        codes = [code for code, _ in cooperative.members]
        assert len(set(codes)) == len(codes)
        assert farmers.issuperset(codes)
        assert sum(share for _, share in cooperative.members) <= 10_000
    assert len({p.names["zh"] for p in producers}) == len(producers)
    assert len({p.code for p in producers}) == len(producers)


@pytest.mark.parametrize("today", [SUMMER, WINTER, date(2028, 2, 29), date(2026, 12, 31)])
def test_every_lot_is_harvested_in_season_and_still_good(today: date) -> None:
    lots = make(today).lots

    assert len({lot.code for lot in lots}) == len(lots)
    for lot in lots:
        assert lot.harvest_date <= today
        assert goods.in_season(lot.variant, lot.harvest_date)
        assert lot.best_before > today + timedelta(days=lot.variant.min_life_days)
        assert lot.stock[0][0] == CENTRE
        assert len({site for site, _ in lot.stock}) == len(lot.stock)
        for _, quantity in lot.stock:
            assert quantity > 0
            assert quantity % lot.variant.pack_quantity == 0


def test_fresh_matsutake_is_there_in_summer_and_frozen_in_winter() -> None:
    summer = {lot.variant.product for lot in make(SUMMER).lots}
    winter = {lot.variant.product for lot in make(WINTER).lots}

    assert "MATSUTAKE-FRESH" in summer
    assert "MATSUTAKE-FRESH" not in winter
    assert "MATSUTAKE-FROZEN" in winter


def test_a_lot_is_the_same_on_whichever_day_it_is_loaded() -> None:
    today = {lot.code: lot for lot in make(SUMMER).lots}
    tomorrow = {lot.code: lot for lot in make(SUMMER + timedelta(days=1)).lots}

    both = today.keys() & tomorrow.keys()
    assert len(both) > 200
    assert all(today[code] == tomorrow[code] for code in both)


def test_six_stations_have_a_till_and_goods_that_are_listed() -> None:
    sample = make(SUMMER)

    levels = {site.code: site.level for site in sample.sites}
    skus = {variant.sku for variant in sample.variants}
    assert Counter(levels[station.site_code] for station in sample.stations) == {
        "township": 4,
        "village": 2,
    }
    assert sample.stations[0].site_code == BAHE
    for station in sample.stations:
        assert station.shelf
        assert {sku for sku, _ in station.shelf} <= skus
        assert all(packs > 0 for _, packs in station.shelf)


def test_prices_differ_by_channel_and_are_whole_tens_of_fen() -> None:
    variant = goods.variants()[0]

    prices = {channel: variant.price_in(channel) for channel in goods.CHANNEL_PERCENT}
    assert prices["online"] == variant.price_fen == 68_000
    assert len(set(prices.values())) == len(prices)
    assert all(price % 10 == 0 for price in prices.values())
