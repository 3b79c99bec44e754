"""The device itself fails: its storage, its clock, its copy; and the till says what to do."""

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from werkzeug.wrappers import Response

from shared.runtime import clock

pytestmark = [pytest.mark.system, pytest.mark.browser]


def no_route(request: Any, go: Any) -> Response:
    """A link that is down, with something near that says so."""
    return Response("no route", 503)


def test_a_sale_that_finds_no_room_is_refused_as_a_whole(
    centre: Any, make_till: Any, make_ready: Any, link: Any
) -> None:
    """Chromium does not say how much room is left: the write itself must tell, and undo all."""
    station = make_ready(make_till(quota=30_000_000))
    till = station.till
    link.fault = no_route
    number = till.sell(1_000)
    till.fill_cart(500)
    till.fill_storage()

    till.pay()

    assert "storage of this device is nearly full" in till.told()
    expect(till.page.locator("#notices")).to_contain_text("storage of this device is nearly full")
    till.page.keyboard.press("Escape")
    till.await_unsent(1)
    assert till.left() == "3.5 kg left", "4 kg, of which the cart holds 500 g"

    # What must always fit still does: the reserve was given up for it.
    till.go("journal")
    till.page.get_by_text(number).click()
    till.page.get_by_role("button", name="Void the sale").click()
    till.page.get_by_role("button", name="Void it and give the money back").click()
    expect(till.page.locator("#receipt-number")).to_contain_text("-1-3")
    till.await_unsent(2)
    # The browser tidies up its files now and then, and room comes back.
    till.fill_storage()
    till.go("sell")
    till.pay()
    assert "storage of this device is nearly full" in till.told()
    till.page.keyboard.press("Escape")

    till.free_storage()
    link.fault = None
    till.reach()
    till.await_unsent(0)
    till.go("sell")
    till.pay()

    expect(till.page.locator("#receipt-number")).to_contain_text("-1-4")
    till.await_unsent(0)
    # Gross: what was voided had been sent, so the centre granted it again.
    centre.await_sold(station.device, station.lot, 1_500)
    assert centre.differences() == []
    assert till.errors == []


def test_a_browser_that_stores_nothing_is_no_till(
    playwright: Any, chromium: str, link: Any, tmp_path: Path
) -> None:
    profile = tmp_path / "refusing"
    (profile / "Default").mkdir(parents=True)
    blocked = {"profile": {"default_content_setting_values": {"cookies": 2}}}
    (profile / "Default" / "Preferences").write_text(json.dumps(blocked))
    context = playwright.chromium.launch_persistent_context(
        str(profile), executable_path=chromium, args=["--no-sandbox"], locale="en-US"
    )
    try:
        page = context.pages[0]
        page.goto(f"{link.url}/till/")

        expect(page.get_by_role("alert")).to_contain_text("refuses to store anything")
        expect(page.get_by_role("button")).to_have_text("Load again")
    finally:
        context.close()


def test_a_clock_that_was_turned_back_stops_selling_until_the_centre_is_reached(
    centre: Any, station: Any
) -> None:
    till = station.till
    station.link.fault = no_route
    till.fill_cart(500)
    till.page.clock.set_fixed_time(clock.now() - timedelta(days=1))

    till.pay()

    assert "clock of this device was turned back" in till.told()
    till.page.keyboard.press("Escape")
    till.await_unsent(0)
    station.link.fault = None
    till.reach()
    # Still a day behind, but now it is known by how much.
    expect(till.page.locator("main")).to_contain_text("1440 min behind the centre")
    till.go("sell")
    till.pay()
    expect(till.page.locator(".till-receipt")).to_be_visible()
    till.await_unsent(0)
    centre.await_sold(station.device, station.lot, 500)


def test_a_lease_counts_by_the_centres_time_not_by_a_clock_that_is_wrong(
    centre: Any, make_till: Any, link: Any
) -> None:
    till = make_till()
    device, lot = centre.device(), centre.lot("HONEY", 10_000)
    # Two years behind from the beginning: a new battery, and nobody set the date.
    wrong = clock.now() - timedelta(days=730)
    till.page.clock.set_fixed_time(wrong)
    till.enrol(device["enrolment_code"])
    centre.grant(device, lot, 2_000)
    till.open_shift()
    till.reach()

    till.sell(500)

    till.await_unsent(0)
    till.page.clock.set_fixed_time(wrong + timedelta(days=4))
    link.fault = no_route
    till.go("sell")
    till.tile().click(force=True)
    assert "lease over" in till.told()
    centre.await_sold(device, lot, 500)


def test_an_old_copy_that_sold_under_a_used_number_is_found_out_and_stops(
    centre: Any, lasting_station: Any, make_till: Any, tmp_path: Path
) -> None:
    """A profile restored from a backup: its next number was used before."""
    till = lasting_station.till
    till.close()
    copy = tmp_path / "copy"
    shutil.copytree(till.profile, copy, symlinks=True)
    till.start()
    till.sell(1_000)
    till.await_unsent(0)
    till.close()
    lasting_station.link.fault = no_route
    old = make_till(profile=copy)
    old.sell(2_000)

    lasting_station.link.fault = None
    old.reach()

    # Its number 2 is another sale than the one that came first.
    entries = centre.entries(lasting_station.device)
    assert [(e["number"], e["kind"], e["status"], e["reason"]) for e in entries[1:]] == [
        (2, "sale", "accepted", None),
        (2, "sale", "disputed", "other_content"),
    ]
    expect(old.page.locator("#notices")).to_contain_text("set back to an old copy")
    old.go("journal")
    expect(old.page.get_by_text("two different entries have this number")).to_be_visible()


def test_an_old_copy_that_sold_nothing_yet_is_stopped_by_its_first_contact(
    centre: Any, lasting_station: Any, make_till: Any, tmp_path: Path
) -> None:
    """Slow: two browsers, and a copy of one's profile."""
    till = lasting_station.till
    till.close()
    copy = tmp_path / "copy"
    shutil.copytree(till.profile, copy, symlinks=True)
    till.start()
    till.sell(1_000)
    till.await_unsent(0)
    till.close()
    old = make_till(profile=copy)

    expect(old.page.locator("#notices")).to_contain_text("set back to an old copy")
    old.fill_cart(500)
    old.pay()
    assert "set back to an old copy" in old.told()
    old.page.keyboard.press("Escape")

    path = f"/devices/{lasting_station.device['device_id']}/enrolment"
    code = centre.client.post("catalog", path)["enrolment_code"]
    old.go("settings")
    old.page.get_by_role("button", name="Enrol anew").click()
    old.page.get_by_label("Enrolment code").fill(code)
    old.page.get_by_role("button", name="Make this device a till").click()
    expect(old.page.get_by_label("Your name")).to_be_visible()
    centre.grant(lasting_station.device, centre.lot("HONEY", 5_000), 2_000)
    old.open_shift()
    old.reach()
    assert old.sell(500) == f"{lasting_station.device['code']}-2-2"
    old.await_unsent(0)


def test_sales_of_an_older_enrolment_are_still_sent_after_a_new_one(
    centre: Any, station: Any
) -> None:
    till = station.till

    def no_uploads(request: Any, go: Any) -> Response:
        return no_route(request, go) if request.path.endswith("/till/entries") else go()

    station.link.fault = no_uploads
    till.sell(1_000)
    till.go("shift")
    till.page.get_by_role("button", name="Close the shift").click()
    till.page.get_by_label("Counted", exact=True).fill("388.20")
    till.page.locator("dialog").get_by_role("button", name="Close the shift").click()
    expect(till.page.locator(".till-receipt")).to_be_visible()
    path = f"/devices/{station.device['device_id']}/enrolment"
    code = centre.client.post("catalog", path)["enrolment_code"]
    till.go("settings")
    till.page.get_by_role("button", name="Enrol anew").click()
    till.page.get_by_label("Enrolment code").fill(code)
    till.page.get_by_role("button", name="Make this device a till").click()
    expect(till.page.get_by_label("Your name")).to_be_visible()
    till.await_unsent(2)

    station.link.fault = None
    till.reach()

    till.await_unsent(0)
    entries = centre.entries(station.device)
    assert [(e["epoch"], e["number"], e["kind"], e["status"]) for e in entries] == [
        (1, 1, "shift_open", "accepted"),
        (1, 2, "sale", "accepted"),
        (1, 3, "shift_close", "accepted"),
    ]
    centre.await_sold(station.device, station.lot, 1_000)


def test_signing_out_is_refused_while_anything_is_unsent(station: Any) -> None:
    till = station.till
    station.link.fault = no_route
    till.sell(500)
    till.go("settings")
    till.page.get_by_role("button", name="Sign out").click()
    assert "Not everything has been sent" in till.told()

    station.link.fault = None
    till.reach()
    till.await_unsent(0)
    till.go("settings")
    till.page.get_by_role("button", name="Sign out").click()
    assert "A shift is open" in till.told()

    till.go("shift")
    till.page.get_by_role("button", name="Close the shift").click()
    till.page.get_by_label("Counted", exact=True).fill("294.10")
    till.page.locator("dialog").get_by_role("button", name="Close the shift").click()
    expect(till.page.locator(".till-receipt")).to_be_visible()
    till.await_unsent(0)
    till.go("settings")
    till.page.get_by_role("button", name="Sign out").click()
    till.page.locator("dialog").get_by_role("button", name="Sign out").click()

    expect(till.page.get_by_label("Enrolment code")).to_be_visible()
    till.page.reload()
    expect(till.page.get_by_label("Enrolment code")).to_be_visible()


def test_without_a_secure_context_it_says_so_and_still_loses_nothing(
    centre: Any, make_till: Any, link: Any, tmp_path: Path
) -> None:
    """On plain http there are no worker, no locks and no digests; the page must not pretend."""
    till = make_till(
        f"http://till.test:{link.port}",
        profile=tmp_path / "profile",
        args=["--host-resolver-rules=MAP till.test 127.0.0.1"],
    )
    assert till.page.evaluate("isSecureContext") is False
    expect(till.page.get_by_role("alert")).to_contain_text("This page is not secure")
    till.page.locator("button[lang=zh]").click()
    expect(till.page.get_by_role("alert")).to_contain_text("本页面不安全")
    till.page.locator("button[lang=en]").click()
    device, lot = centre.device(), centre.lot("HONEY", 5_000)
    till.enrol(device["enrolment_code"])
    centre.grant(device, lot, 2_000)
    till.open_shift()
    till.reach()
    expect(till.page.locator("main")).to_contain_text("no: load the page once more over https")

    till.sell(500)

    till.await_unsent(0)
    expect(till.page.get_by_role("alert")).to_contain_text("Do not sell offline here")
    centre.await_sold(device, lot, 500)
    assert till.errors == []
