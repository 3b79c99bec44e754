"""The simulated till by itself, against the real services in process."""

from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from demo.offline.device import CannotSell, NoAnswer, PowerCut, Till
from demo.offline.link import CLEAR, PORTAL, Link, Weather
from shared.runtime import clock

CLERK = "营业员"


@pytest.fixture
def till(centre: Any, shop: Any) -> Till:
    """A till with 30 units of the first lot and an open shift, which orders knows."""
    centre.reset()
    receipt = {"lot_id": shop.lot_ids[0], "location_id": shop.centre_id, "quantity": 100}
    centre.call("POST", "catalog", "/stock/receipts", receipt)
    made = Till(centre.send, shop.stores[0])
    grant = {
        "device_id": made.store.device_id,
        "lot_id": shop.lot_ids[0],
        "quantity": 30,
    }
    centre.call("POST", "catalog", "/allotments", grant)
    centre.settle()
    made.contact()
    made.open_shift(0, CLERK)
    return made


def allotted(till: Till) -> str:
    """Return its only allotment."""
    (allotment_id,) = till.store.allotments
    return allotment_id


def left(till: Till) -> int:
    return till.store.remaining()[allotted(till)]


def left_at_centre(centre: Any, till: Till) -> int:
    path = f"/allotments?device_id={till.store.device_id}"
    (allotment,) = centre.pages("catalog", path)
    return int(allotment["remaining"])


def test_it_sells_what_it_has_and_no_more(till: Till) -> None:
    till.sell([(allotted(till), 20)], "cash", CLERK)

    with pytest.raises(CannotSell):
        till.sell([(allotted(till), 6), (allotted(till), 5)], "cash", CLERK)

    assert left(till) == 10


def test_the_same_upload_counts_once(till: Till, centre: Any) -> None:
    number = till.sell([(allotted(till), 20)], "cash", CLERK)
    till.upload()

    till.upload([number, number, 1])

    centre.settle()
    assert till.store.journal[number].status == "duplicate"
    assert left_at_centre(centre, till) == 10 == left(till)


def test_what_a_portal_answers_is_no_answer(till: Till) -> None:
    answering = till.snapshot()
    portal = Till(lambda *request: PORTAL, answering)

    for ask in (portal.upload, portal.contact, lambda: portal.enrol("ABCDE-FGHJK")):
        with pytest.raises(NoAnswer):
            ask()

    assert [entry.number for entry in portal.store.unsynced] == [1]
    assert portal.store.allotments == answering.allotments


@pytest.mark.parametrize("steps", range(1, 16))
def test_a_power_cut_at_any_step_loses_no_sale_and_doubles_none(
    till: Till, centre: Any, steps: int
) -> None:
    cut_in = steps

    def cut(what: str) -> None:
        nonlocal cut_in
        cut_in -= 1
        if cut_in == 0:
            raise PowerCut(what)

    dying = Till(centre.send, till.snapshot(), cut=cut)
    sold = 0
    try:
        for quantity in (3, 4):
            dying.sell([(allotted(till), quantity)], "cash", CLERK)
            sold += quantity
        dying.upload()
        dying.contact()
    except PowerCut as failure:
        # The receipt is printed after the sale is kept: then it is on record.
        sold += {"after sale": 3 if sold == 0 else 4}.get(str(failure), 0)

    again = Till(centre.send, dying.snapshot())
    again.upload()
    centre.settle()
    again.contact()

    assert left_at_centre(centre, again) == 30 - sold == left(again)
    assert again.store.unsynced == []


def test_a_void_before_sending_refills_at_once_and_after_sending_by_the_centre(
    till: Till, centre: Any
) -> None:
    never_sent = till.sell([(allotted(till), 10)], "cash", CLERK)
    till.void(never_sent, CLERK, "错")
    assert left(till) == 30
    sent = till.sell([(allotted(till), 10)], "cash", CLERK)
    till.upload()

    till.void(sent, CLERK, "错")

    assert left(till) == 20
    till.upload()
    centre.settle()
    till.contact()
    assert left_at_centre(centre, till) == 30 == left(till)


def test_an_attempt_that_never_arrived_is_an_attempt(till: Till, centre: Any) -> None:
    def lost(*request: Any) -> Any:
        raise NoAnswer

    number = till.sell([(allotted(till), 10)], "cash", CLERK)
    cut_off = Till(lost, till.snapshot())
    with pytest.raises(NoAnswer):
        cut_off.upload()

    cut_off.void(number, CLERK, "错")

    assert left(cut_off) == 20


def test_what_is_given_back_counts_once_and_is_for_everybody_again(till: Till, centre: Any) -> None:
    till.give_back(allotted(till), 12)
    assert left(till) == 18
    till.send_returns()
    waiting = till.snapshot()

    Till(centre.send, waiting).send_returns()
    till.contact()

    assert left_at_centre(centre, till) == 18 == left(till)


def test_a_held_lot_stops_at_the_next_contact_and_not_before(
    till: Till, centre: Any, shop: Any
) -> None:
    centre.call("POST", "catalog", f"/lots/{shop.lot_ids[0]}/hold", {"reason": "检验"})
    till.sell([(allotted(till), 1)], "cash", CLERK)

    till.contact()

    with pytest.raises(CannotSell):
        till.sell([(allotted(till), 1)], "cash", CLERK)


@pytest.mark.parametrize(
    ("by", "stops"),
    [
        (timedelta(hours=71), False),
        (timedelta(hours=73), True),  # its lease is over
        (-timedelta(minutes=5), True),  # its clock runs backwards
        (-timedelta(seconds=2), False),  # clocks that are set by a network do that
    ],
)
def test_time_stops_it_and_only_a_contact_lets_it_go_on(
    till: Till, centre: Any, by: timedelta, stops: bool
) -> None:
    later = Till(centre.send, till.snapshot(), time=lambda: clock.now() + by)

    def sell() -> int:
        return later.sell([(allotted(till), 1)], "cash", CLERK)

    if stops:
        with pytest.raises(CannotSell):
            sell()
        later.contact()
    assert sell() == 2


def test_a_clock_that_is_wrong_all_the_time_changes_nothing(till: Till, centre: Any) -> None:
    wrong = Till(centre.send, till.snapshot(), time=lambda: clock.now() + timedelta(days=400))
    wrong.contact()

    wrong.sell([(allotted(till), 1)], "cash", CLERK)

    assert wrong.upload() == 2


def test_a_restored_backup_sells_a_second_time_and_the_centre_knows(
    till: Till, centre: Any
) -> None:
    backup = till.snapshot()
    till.sell([(allotted(till), 20)], "cash", CLERK)
    till.upload()
    till.restore(backup)

    number = till.sell([(allotted(till), 30)], "cash", CLERK)
    beyond = till.sell([(allotted(till), 1)], "cash", CLERK) if left(till) else None
    till.upload()

    assert till.store.journal[number].reason == "other_content"
    assert beyond is None
    centre.settle()
    assert left_at_centre(centre, till) == 10


def test_an_exported_file_is_taken_like_an_upload(till: Till, centre: Any) -> None:
    till.sell([(allotted(till), 20)], "cash", CLERK)
    exported = till.export()

    file = {name: exported[name] for name in ("device_id", "epoch", "entries")}
    centre.call("POST", "orders", "/station-sales/import", file)
    till.upload()

    centre.settle()
    assert {entry.status for entry in till.store.journal.values()} == {"duplicate"}
    assert left_at_centre(centre, till) == 10


def calls(sent: list[str]) -> Callable[..., str]:
    """Return a way to a centre that notes what arrives."""

    def send(service: str, method: str, path: str, body: Any, token: str | None) -> str:
        sent.append(path)
        return path

    return send


def test_the_same_seed_brings_the_same_weather() -> None:
    def live(seed: int) -> list[str]:
        arrived: list[str] = []
        link = Link(calls(arrived), Random(seed), Weather(doubles=0))
        for number in range(200):
            link.step()
            try:
                link("orders", "POST", str(number), None, None)
            except NoAnswer:
                arrived.append("-")
        return arrived

    assert live(1) == live(1)
    assert live(1) != live(2)
    assert 20 < live(1).count("-") < 180


def test_what_is_kept_back_arrives_after_what_was_sent_later() -> None:
    arrived: list[str] = []
    link = Link(calls(arrived), Random(1), Weather(0, (1, 1), 0, 0, 0, keeps_back=1, portal=0))
    with pytest.raises(NoAnswer):
        link("orders", "POST", "first", None, None)

    link.weather = CLEAR
    link.leave()
    link("orders", "POST", "second", None, None)

    assert arrived == ["second", "first"]


def test_a_good_line_loses_nothing() -> None:
    arrived: list[str] = []
    link = Link(calls(arrived), Random(1), Weather())
    link.set_up()

    for number in range(100):
        link.step()
        link("orders", "POST", str(number), None, None)

    assert arrived == [str(number) for number in range(100)]
