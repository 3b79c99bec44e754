"""Shipment states, ways, promised days, money and codes, without a database."""

from datetime import date, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.logistics import rules
from services.logistics.rules import EVERY_DAY, Leg, ShipmentState, WrongShipmentState
from shared.runtime.clock import LOCAL

CENTRE, COUNTY, TOWNSHIP, VILLAGE = (UUID(int=number) for number in range(1, 5))
#: A Monday.
MONDAY = date(2024, 7, 1)


def a_leg(start: UUID, end: UUID, hours: int = 3, **changes: object) -> Leg:
    """A leg that runs every day and is not cold."""
    return Leg(start, end, hours, **({"days": EVERY_DAY, "cold": False} | changes))


def at(day: date, hour: int) -> datetime:
    """A moment of a day in Asia/Shanghai."""
    return datetime(day.year, day.month, day.day, hour, tzinfo=LOCAL)


@pytest.mark.parametrize(
    ("state", "to"),
    [
        ("planned", "packed"),
        ("planned", "cancelled"),
        ("packed", "handed_over"),
        ("packed", "cancelled"),
        ("handed_over", "delivered"),
        ("handed_over", "collected"),
        ("handed_over", "refused"),
        ("refused", "returned"),
    ],
)
def test_a_shipment_goes_the_ways_that_are_drawn(state: str, to: str) -> None:
    rules.check_transition("SHP-1", ShipmentState(state), ShipmentState(to))


@pytest.mark.parametrize("state", ShipmentState)
@pytest.mark.parametrize("to", ShipmentState)
def test_every_other_way_is_refused_with_the_state_and_what_is_possible(
    state: ShipmentState, to: ShipmentState
) -> None:
    if to in rules.NEXT[state]:
        return

    with pytest.raises(WrongShipmentState, match=f"SHP-1 is {state}") as refused:
        rules.check_transition("SHP-1", state, to)

    assert refused.value.extra == {"state": state}


def test_goods_that_left_cannot_be_cancelled() -> None:
    assert ShipmentState.CANCELLED not in rules.NEXT[ShipmentState.HANDED_OVER]


@pytest.mark.parametrize("state", ["delivered", "collected", "cancelled", "returned"])
def test_an_ended_shipment_is_over(state: str) -> None:
    assert rules.is_over(ShipmentState(state))


@pytest.mark.parametrize(
    ("level", "parent"),
    [("centre", None), ("county", "centre"), ("township", "county"), ("village", "township")],
)
def test_a_site_hangs_exactly_one_level_below_its_parent(level: str, parent: str | None) -> None:
    rules.check_level("X", level, parent)


@pytest.mark.parametrize(
    ("level", "parent"),
    [
        ("centre", "centre"),
        ("county", None),
        ("county", "county"),
        ("township", "centre"),
        ("village", "county"),
        ("village", None),
    ],
)
def test_a_site_hangs_nowhere_else(level: str, parent: str | None) -> None:
    with pytest.raises(rules.WrongLevel):
        rules.check_level("X", level, parent)


def test_a_way_follows_the_tree_where_no_route_is_shorter() -> None:
    down = a_leg(CENTRE, COUNTY, 6), a_leg(COUNTY, TOWNSHIP, 3)

    ways = rules.fastest_ways([CENTRE], down)

    assert ways == {CENTRE: (), COUNTY: (down[0],), TOWNSHIP: down}


def test_a_direct_road_is_taken_when_it_is_faster() -> None:
    direct = a_leg(CENTRE, TOWNSHIP, 8)
    down = a_leg(CENTRE, COUNTY, 6), a_leg(COUNTY, TOWNSHIP, 3)

    assert rules.fastest_ways([CENTRE], [*down, direct])[TOWNSHIP] == (direct,)


def test_of_two_ways_equally_long_the_one_with_fewer_legs_is_taken() -> None:
    direct = a_leg(CENTRE, TOWNSHIP, 9)
    down = a_leg(CENTRE, COUNTY, 6), a_leg(COUNTY, TOWNSHIP, 3)

    assert rules.fastest_ways([CENTRE], [*down, direct])[TOWNSHIP] == (direct,)


def test_roads_in_a_circle_end() -> None:
    legs = a_leg(CENTRE, COUNTY), a_leg(COUNTY, CENTRE), a_leg(COUNTY, COUNTY)

    assert set(rules.fastest_ways([CENTRE], legs)) == {CENTRE, COUNTY}


def test_a_site_without_a_road_has_no_way() -> None:
    assert VILLAGE not in rules.fastest_ways([CENTRE], [a_leg(CENTRE, COUNTY)])


@pytest.mark.parametrize("level", ["county", "township", "village"])
def test_a_default_leg_never_promises_cold(level: str) -> None:
    assert not rules.default_leg(level, CENTRE, COUNTY).cold


@pytest.mark.parametrize(
    ("storages", "cold"),
    [([], False), ([None, None], False), ([None, "0-4 C"], True), (["-18 C"], True)],
)
def test_goods_with_a_storage_class_need_cold(storages: list[str | None], cold: bool) -> None:
    assert rules.needs_cold(storages) is cold


@pytest.mark.parametrize(
    ("confirmed", "way", "promised"),
    [
        pytest.param(at(MONDAY, 9), (), MONDAY, id="at the centre the same day"),
        pytest.param(
            at(MONDAY, 21), (), date(2024, 7, 2), id="packed after midnight, the next day"
        ),
        pytest.param(
            at(MONDAY, 3),
            (a_leg(CENTRE, COUNTY, 6),),
            MONDAY,
            id="packed before the lorry leaves, the same day",
        ),
        pytest.param(
            at(MONDAY, 5),
            (a_leg(CENTRE, COUNTY, 6),),
            date(2024, 7, 2),
            id="packed too late for the lorry, with the next one",
        ),
        pytest.param(
            at(MONDAY, 3),
            (a_leg(CENTRE, COUNTY, 20),),
            date(2024, 7, 2),
            id="a long leg ends the next day",
        ),
        pytest.param(
            at(MONDAY, 3),
            (a_leg(CENTRE, COUNTY, 6), a_leg(COUNTY, TOWNSHIP, 3)),
            date(2024, 7, 2),
            id="it changes lorries overnight",
        ),
        pytest.param(
            at(MONDAY, 3),
            (a_leg(CENTRE, COUNTY, 6), a_leg(COUNTY, TOWNSHIP, 3, days=(4,))),
            date(2024, 7, 4),
            id="it waits for the day the next lorry runs",
        ),
        pytest.param(
            at(MONDAY, 9),
            (a_leg(CENTRE, COUNTY, 6, days=(1,)),),
            date(2024, 7, 8),
            id="today's lorry has left, and it runs once a week",
        ),
    ],
)
def test_the_promised_day_follows_from_hours_and_days_of_service(
    confirmed: datetime, way: tuple[Leg, ...], promised: date
) -> None:
    assert rules.promised_on(confirmed, way) == promised


@given(
    confirmed=st.datetimes(datetime(2024, 1, 1), datetime(2026, 1, 1)),
    wait=st.timedeltas(timedelta(0), timedelta(days=10)),
    legs=st.lists(
        st.tuples(st.integers(1, 100), st.sets(st.sampled_from(EVERY_DAY), min_size=1)), max_size=4
    ),
)
def test_who_orders_later_is_never_promised_an_earlier_day(
    confirmed: datetime, wait: timedelta, legs: list[tuple[int, set[int]]]
) -> None:
    way = tuple(a_leg(CENTRE, COUNTY, hours, days=tuple(days)) for hours, days in legs)
    moment = confirmed.replace(tzinfo=LOCAL)

    assert rules.promised_on(moment, way) <= rules.promised_on(moment + wait, way)


@given(
    st.lists(
        st.builds(
            a_leg,
            st.integers(1, 6).map(lambda number: UUID(int=number)),
            st.integers(1, 6).map(lambda number: UUID(int=number)),
            st.integers(1, 30),
        ),
        max_size=15,
    )
)
def test_no_leg_shortens_the_way_that_is_found(legs: list[Leg]) -> None:
    ways = rules.fastest_ways([CENTRE], legs)

    hours = {site_id: sum(leg.hours for leg in way) for site_id, way in ways.items()}
    for leg in legs:
        if leg.from_id in hours:
            assert hours[leg.to_id] <= hours[leg.from_id] + leg.hours
    for site_id, way in ways.items():
        stops = [CENTRE, *(leg.to_id for leg in way)]
        assert [leg.from_id for leg in way] == stops[:-1]
        assert stops[-1] == site_id


def test_between_two_ways_as_fast_the_same_one_is_always_taken() -> None:
    legs = [
        a_leg(CENTRE, COUNTY, 5),
        a_leg(CENTRE, TOWNSHIP, 6),
        a_leg(COUNTY, VILLAGE, 4),
        a_leg(TOWNSHIP, VILLAGE, 3),
    ]

    way, other = (
        rules.fastest_ways([CENTRE], order)[VILLAGE] for order in (legs, list(reversed(legs)))
    )

    assert sum(leg.hours for leg in way) == 9
    assert way == other


def test_what_is_due_is_booked() -> None:
    rules.check_collected(13600, 13600, None)


def test_another_amount_needs_a_reason() -> None:
    with pytest.raises(rules.WrongAmount, match="13600 fen are due") as refused:
        rules.check_collected(13600, 13000, None)

    assert refused.value.extra == {"due_fen": 13600}
    rules.check_collected(13600, 13000, "one bag was torn")


def test_only_the_code_issued_matches() -> None:
    digest = rules.code_digest("000042", b"salt")

    assert rules.code_matches("000042", b"salt", digest)
    assert not rules.code_matches("000043", b"salt", digest)
    assert not rules.code_matches("000042", b"other", digest)
