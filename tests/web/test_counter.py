"""A clerk's day at the counter, with and without the centre."""

from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.system, pytest.mark.browser]


def test_it_sells_with_the_server_gone_and_after_a_reload(centre: Any, make_till: Any) -> None:
    """BrainWise-DEV/POSNext#97; frappe/erpnext#22190: hours without a link, on cheap machines."""
    # Straight to the system, with no link between: the process itself is stopped.
    till = make_till(centre.url)
    device, lot = centre.device(), centre.lot("HONEY", 10_000)
    till.enrol(device["enrolment_code"])
    centre.grant(device, lot, 2_000)
    till.open_shift()
    till.reach()
    till.await_unsent(0)
    try:
        centre.system.stop("all")
        first = till.sell(750)
        till.page.reload()
        second = till.sell(250)

        expect(till.page.locator("#receipt-state")).to_have_text("not sent yet")
        assert till.left() == "1 kg left"
        assert first == f"{device['code']}-1-2"
        assert second == f"{device['code']}-1-3"
        till.await_unsent(2)
    finally:
        centre.system.start("all")
    till.reach()
    till.await_unsent(0)

    entries = centre.entries(device)
    assert [(e["number"], e["kind"], e["status"]) for e in entries] == [
        (1, "shift_open", "accepted"),
        (2, "sale", "accepted"),
        (3, "sale", "accepted"),
    ]
    centre.await_sold(device, lot, 1_000)
    assert centre.differences() == []
    assert till.errors == []
