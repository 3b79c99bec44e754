"""The link fails in every way: no sale is lost, and none counts twice."""

import json
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from werkzeug.wrappers import Response

from shared.runtime import clock
from tests.support.servers import wait_until

pytestmark = [pytest.mark.system, pytest.mark.browser]


def sales(centre: Any, station: Any) -> list[tuple[int, str]]:
    """Number and status of each sale that orders holds."""
    return [
        (entry["number"], entry["status"])
        for entry in centre.entries(station.device)
        if entry["kind"] == "sale"
    ]


def no_route(request: Any, go: Any) -> Response:
    """A link that is down, with something near that says so."""
    return Response("no route", 503)


def portal(request: Any, go: Any) -> Response:
    """Answer as a captive portal does: 200, with its own page, to everything."""
    return Response("<!doctype html><title>Log in to the network</title>", mimetype="text/html")


def stranger(request: Any, go: Any) -> Response:
    """Something that answers 200 in JSON to everything, and is not the centre."""
    return Response(
        json.dumps({"device_id": None, "answers": [], "items": [], "status": "ok"}),
        mimetype="application/json",
    )


def test_a_sale_whose_receipt_was_shown_survives_a_power_cut(
    centre: Any, lasting_station: Any
) -> None:
    """odoo/odoo#125037, #60939: what was printed is on record."""
    till = lasting_station.till
    lasting_station.link.fault = no_route
    till.sell(500)
    number = till.sell(1_250)
    till.cut_power()

    till.start()

    till.await_unsent(2)
    assert till.left() == "3.25 kg left"
    till.go("journal")
    expect(till.page.get_by_text(number)).to_be_visible()
    lasting_station.link.fault = None
    till.reach()
    till.await_unsent(0)
    assert sales(centre, lasting_station) == [(2, "accepted"), (3, "accepted")]
    centre.await_sold(lasting_station.device, lasting_station.lot, 1_750)
    assert centre.differences() == []


def test_two_tabs_that_flush_at_once_send_each_sale_once(centre: Any, station: Any) -> None:
    """BrainWise-DEV/POSNext#50; two tabs also never sell the same grams."""
    till = station.till
    other = till.another_tab()
    station.link.fault = no_route
    numbers = [till.sell(1_000, page=page) for page in (till.page, other, till.page, other)]
    assert len(set(numbers)) == 4
    till.go("sell")
    expect(till.tile()).to_contain_text("1 kg left")
    till.go("sell", other)
    expect(till.tile(page=other)).to_contain_text("1 kg left")
    for page in (till.page, other):
        till.go("status", page)
        expect(page.get_by_role("button", name="Reach the centre now")).to_be_visible()
    before = len(station.link.uploaded())

    at_once = threading.Barrier(2, timeout=2)

    def slow(request: Any, go: Any) -> Response:
        # Where both tabs sent at once, both would meet here.
        if request.path.endswith("/till/entries"):
            try:
                at_once.wait()
            except threading.BrokenBarrierError:
                alone.append(request.path)
        return go()

    alone: list[str] = []
    station.link.fault = slow
    for page in (till.page, other):
        page.evaluate("document.querySelector('.till-actions .btn-primary').click()")
    till.await_unsent(0)
    expect(other.locator("#unsent")).to_have_text("0 unsent")

    assert alone, "two tabs sent at the same time"
    assert station.link.uploaded()[before:] == [2, 3, 4, 5]
    assert sales(centre, station) == [(n, "accepted") for n in (2, 3, 4, 5)]
    centre.await_sold(station.device, station.lot, 4_000)
    assert centre.differences() == []


def test_two_tabs_cannot_sell_the_last_grams_twice(centre: Any, station: Any) -> None:
    till = station.till
    other = till.another_tab()
    for page in (till.page, other):
        till.fill_cart(3_000, page=page)
    till.pay()
    expect(till.page.locator(".till-receipt")).to_be_visible()

    till.pay(page=other)

    expect(other.get_by_role("alert")).to_contain_text("There is not so much left")
    till.await_unsent(0)
    centre.await_sold(station.device, station.lot, 3_000)


def test_an_upload_whose_answer_is_lost_is_sent_again_and_counts_once(
    centre: Any, station: Any
) -> None:
    """frappe/erpnext#11000, #11230: the server commits, and answers 502."""
    till = station.till
    lost: list[int] = []

    def swallowed(request: Any, go: Any) -> Response:
        answer = go()
        if request.path.endswith("/till/entries") and len(lost) < 2:
            lost.append(answer.status_code)
            return Response("Bad gateway", 502)
        return answer

    station.link.fault = no_route
    till.sell(500)
    till.sell(500)
    station.link.fault = swallowed

    till.reach()
    till.reach()
    till.await_unsent(2)
    till.reach()
    till.await_unsent(0)

    assert lost == [200, 200]
    assert station.link.uploaded().count(2) >= 3
    assert sales(centre, station) == [(2, "accepted"), (3, "accepted")]
    centre.await_sold(station.device, station.lot, 1_000)
    assert centre.differences() == []


def test_a_power_cut_while_sending_leaves_nothing_in_doubt(
    centre: Any, lasting_station: Any
) -> None:
    """What was attempted may be at the centre: it is sent again, and not simply taken back."""
    till = lasting_station.till
    arrived, go_on = threading.Event(), threading.Event()

    def held(request: Any, go: Any) -> Response:
        answer = go()
        if request.path.endswith("/till/entries"):
            arrived.set()
            go_on.wait(60)
        return answer

    lasting_station.link.fault = held
    till.sell(5_000)
    assert arrived.wait(20)
    till.cut_power()
    go_on.set()
    lasting_station.link.fault = no_route

    till.start()

    till.await_unsent(1)
    till.go("journal")
    till.page.locator("main a", has_text="Receipt").click()
    till.page.get_by_role("button", name="Void the sale").click()
    expect(till.page.locator("dialog")).to_contain_text("It was sent already")
    till.page.get_by_role("button", name="Void it and give the money back").click()
    till.await_unsent(2)
    till.go("sell")
    expect(till.tile()).to_contain_text("sold out")
    lasting_station.link.fault = None
    till.reach()
    till.await_unsent(0)

    def granted_again() -> bool:
        till.reach()
        return bool(till.left() == "5 kg left")

    wait_until(granted_again, 20, "the voided goods are granted again")
    assert sales(centre, lasting_station) == [(2, "accepted")]
    assert centre.differences() == []


def test_what_the_centre_has_forgotten_is_sent_again(centre: Any, station: Any) -> None:
    """A centre restored from a backup misses what it once acknowledged."""
    till = station.till
    for _ in range(3):
        till.sell(100)
    till.await_unsent(0)
    till.reach()
    before = len(station.link.uploaded())

    def forgetful(request: Any, go: Any) -> Response:
        answer = go()
        if request.path.endswith("/till/attention"):
            body = json.loads(answer.get_data())
            answer.set_data(json.dumps(body | {"highest": 3, "holes": [2]}))
        return answer

    station.link.fault = forgetful
    till.reach()
    till.await_unsent(2)
    station.link.fault = None
    till.reach()

    till.await_unsent(0)
    assert station.link.uploaded()[before:] == [2, 4]
    assert sales(centre, station) == [(2, "accepted"), (3, "accepted"), (4, "accepted")]
    centre.await_sold(station.device, station.lot, 300)


def test_an_old_answer_renews_no_lease_and_unsays_no_recall(centre: Any, station: Any) -> None:
    till = station.till
    kept: list[bytes] = []

    def keeping(request: Any, go: Any) -> Response:
        answer = go()
        if request.path.endswith("/till/contact"):
            kept.append(answer.get_data())
        return answer

    def replaying(request: Any, go: Any) -> Response:
        if request.path.endswith("/till/contact"):
            return Response(kept[0], mimetype="application/json")
        return go()

    station.link.fault = keeping
    till.reach()
    centre.client.post("catalog", f"/lots/{station.lot['lot_id']}/recall", {"reason": "residue"})
    till.reach()
    till.go("sell")
    expect(till.tile()).to_contain_text("stopped by the centre")

    station.link.fault = replaying
    till.reach()

    expect(till.page.locator("#notices")).to_contain_text("knows less than before")
    till.go("sell")
    expect(till.tile()).to_contain_text("stopped by the centre")


@pytest.mark.rest
def test_a_weeks_journal_goes_up_in_pieces(centre: Any, station: Any) -> None:
    """BrainWise-DEV/POSNext#97: the queue of a station that was away for long."""
    till = station.till
    station.link.fault = no_route
    count = 600
    till.page.evaluate(
        """async ([count, variant]) => {
          const { sell } = await import("/till/static/js/journal.js");
          const { newId } = await import("/till/static/js/api.js");
          const { now, refresh } = await import("/till/static/js/state.js");
          const [{ allotment_id, lot_code }] = now().allotments;
          const item = { variant_id: variant, allotment_id, lot_code, quantity: 1,
            price_fen: 9410, price_unit: 500, names: {}, grade: "1", unit: "g" };
          for (let i = 0; i < count; i += 1) await sell(newId(), [item], "cash");
          await refresh();
        }""",
        [count, centre.variants["HONEY"]["variant_id"]],
    )
    till.await_unsent(count)
    before = len(station.link.sent)
    station.link.fault = None

    till.reach()
    till.await_unsent(0)

    pieces = [
        len(body["entries"])
        for path, body in station.link.sent[before:]
        if path.endswith("/till/entries")
    ]
    # Smaller at first, since the link had failed.
    assert max(pieces) <= 500 and sum(pieces) == count
    centre.await_sold(station.device, station.lot, count)
    assert len(centre.entries(station.device)) == count + 1


@pytest.mark.parametrize("somebody", [portal, stranger])
def test_an_answer_that_is_not_the_centres_is_not_believed(
    centre: Any, station: Any, somebody: Any
) -> None:
    till = station.till
    station.link.fault = somebody
    till.sell(500)

    till.reach()
    till.await_unsent(1)
    expect(till.page.locator("main")).to_contain_text("the centre does not answer")
    # The worker's copy opens, not the portal's page.
    till.page.reload()
    till.await_unsent(1)
    assert till.left() == "4.5 kg left"

    station.link.fault = None
    till.reach()
    till.await_unsent(0)
    assert sales(centre, station) == [(2, "accepted")]


def test_a_recalled_lot_stops_at_the_next_contact(centre: Any, station: Any) -> None:
    till = station.till
    lot_id = station.lot["lot_id"]
    station.link.fault = no_route
    centre.client.post("catalog", f"/lots/{lot_id}/recall", {"reason": "residue found"})
    till.sell(500)
    till.fill_cart(250)
    assert centre.allotments(station.device)[lot_id]["heard"] is False

    station.link.fault = None
    till.reach()
    till.go("sell")
    expect(till.tile()).to_contain_text("stopped by the centre")
    till.pay()

    assert "The centre stopped this lot" in till.told()
    till.page.keyboard.press("Escape")
    # The contact after the one that told it says that it was heard.
    till.reach()
    allotment = centre.allotments(station.device)[lot_id]
    assert (allotment["status"], allotment["heard"]) == ("suspended", True)
    centre.await_sold(station.device, station.lot, 500)


def test_a_revoked_till_keeps_its_sales_says_why_and_sells_until_its_lease_is_over(
    centre: Any, station: Any
) -> None:
    till = station.till
    path = f"/devices/{station.device['device_id']}/revoke"
    centre.client.post("catalog", path, {"reason": "lost on the way"})
    till.sell(500)

    till.reach()

    expect(till.page.locator("#notices")).to_contain_text("refuses this till's key")
    till.sell(500)
    till.await_unsent(2)
    till.page.clock.set_fixed_time(clock.now() + timedelta(days=4))
    till.go("sell")
    # Not a dead tile: pressed, it says why.
    till.tile().click(force=True)
    assert "lease over: reach the centre" in till.told()
    expect(till.page.locator("#notices")).to_contain_text("The lease is over")
    till.await_unsent(2)

    # It can never send them itself: only what is in a file may be left behind.
    till.go("shift")
    till.page.get_by_role("button", name="Close the shift").click()
    till.page.get_by_label("Counted", exact=True).fill("388.20")
    till.page.locator("dialog").get_by_role("button", name="Close the shift").click()
    till.go("settings")
    sign_out = till.page.get_by_role("button", name="Sign out")
    sign_out.click()
    assert "Not everything has been sent" in till.told()
    with till.page.expect_download() as download:
        till.page.get_by_role("button", name="Export unsent to a file").click()
    file = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    till.page.get_by_role("button", name="OK").click()
    centre.client.post("orders", "/station-sales/import", file)
    sign_out.click()
    expect(till.page.locator("dialog")).to_contain_text("only in the exported file")
    till.page.locator("dialog").get_by_role("button", name="Sign out").click()
    expect(till.page.get_by_label("Enrolment code")).to_be_visible()
    assert sales(centre, station) == [(2, "accepted"), (3, "accepted")]
    centre.await_sold(station.device, station.lot, 1_000)


def test_a_file_of_unsent_sales_can_be_read_in_by_the_centre(
    centre: Any, station: Any, tmp_path: Path
) -> None:
    till = station.till
    station.link.fault = no_route
    till.sell(500)
    till.sell(1_000)
    till.go("settings")
    with till.page.expect_download() as download:
        till.page.get_by_role("button", name="Export unsent to a file").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)

    answer = centre.client.post(
        "orders", "/station-sales/import", json.loads(file.read_text(encoding="utf-8"))
    )

    assert [each["status"] for each in answer["answers"]] == ["accepted", "accepted"]
    till.page.get_by_role("button", name="OK").click()
    till.await_unsent(2)
    station.link.fault = None
    till.reach()
    till.await_unsent(0)
    assert sales(centre, station) == [(2, "accepted"), (3, "accepted")]
    centre.await_sold(station.device, station.lot, 1_500)
    assert centre.differences() == []


def test_a_disputed_sale_needs_attention_and_stops_no_other(centre: Any, station: Any) -> None:
    """One bad sale: here the operator counted and wrote off what the till still sells from."""
    till = station.till
    station.link.fault = no_route
    till.sell(4_000)
    till.sell(1_000)
    allotment = centre.allotments(station.device)[station.lot["lot_id"]]
    path = f"/allotments/{allotment['allotment_id']}/write-off"
    body = {"counted": 0, "reason": "thought lost"}
    centre.client.post("catalog", path, body)
    station.link.fault = None

    till.reach()
    till.await_unsent(0)

    def asked() -> int:
        till.reach()
        return int(till.page.locator("main .list-group-item").count())

    # The centre's two services settle it between them, by event.
    wait_until(lambda: asked() == 2, 20, "the till says that two sales need attention")

    expect(till.page.locator("nav")).to_contain_text("Status2")
    till.go("journal")
    expect(till.page.get_by_text("needs attention")).to_have_count(2)
    assert sales(centre, station) == [(2, "disputed"), (3, "disputed")]
