"""Every screen in every language: it draws, says what language it is in, and can be pressed."""

import re
from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.system, pytest.mark.browser]

#: Pixels of a phone and of a tablet.
SIZES = ((390, 844), (1024, 768))
SCREENS = ("sell", "journal", "parcels", "order", "stock", "shift", "status", "settings")

#: What can be pressed and is smaller than a thumb.
_SMALL = """() => [...document.querySelectorAll(
    "button, nav a, a.btn, .btn-check + label, input:not(.btn-check), select")]
  .filter((one) => one.offsetParent !== null && one.type !== "hidden")
  .map((one) => [one.textContent || one.ariaLabel || one.id, one.getBoundingClientRect()])
  .filter(([, box]) => box.height < 47.5 || box.width < 44)
  .map(([text, box]) => `${text}: ${Math.round(box.width)}x${Math.round(box.height)}`)"""
_WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.mark.parametrize("language", ["zh", "bo", "en"])
def test_every_screen_fits_and_can_be_pressed(station: Any, language: str) -> None:
    """Slow: 16 screens in a real browser."""
    till = station.till
    page = till.page
    till.sell(500)
    till.await_unsent(0)
    till.fill_cart(250)
    till.go("settings")
    page.locator(f"button[lang={language}]").click()
    expect(page.locator("html")).to_have_attribute("lang", language)

    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        for screen in SCREENS:
            till.go(screen)
            expect(page.locator("main")).not_to_be_empty()
            assert not re.search("null|undefined|NaN", page.locator("main").inner_text()), screen
            assert page.evaluate(_SMALL) == [], screen
            assert page.evaluate(_WIDER) == 0, screen
        till.go("sell")
        page.locator(".till-pay").click()
        expect(page.locator("dialog")).to_be_visible()
        assert page.evaluate(_SMALL) == []
        page.keyboard.press("Escape")
        till.go("journal")
        page.locator("main a.list-group-item").first.click()
        # Chinese always, and the clerk's language under it.
        expect(page.locator(".till-receipt [lang=zh]").first).to_be_visible()
        if language != "zh":
            expect(page.locator(f".till-receipt [lang={language}]").first).to_be_visible()
    assert till.errors == []


def test_a_sale_can_be_made_with_the_keyboard_alone(centre: Any, station: Any) -> None:
    till = station.till
    page = till.page
    till.go("sell")
    till.tile().focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("How much")).to_be_focused()
    page.keyboard.type("500")
    page.keyboard.press("Enter")
    expect(page.locator(".till-cart li")).to_be_visible()
    # What had the focus has it again, also after the screen was drawn anew.
    expect(till.tile()).to_be_focused()
    page.locator(".till-pay").focus()
    page.keyboard.press("Enter")
    done = page.get_by_role("button", name="Paid: write the receipt")
    expect(done).to_be_focused()

    page.keyboard.press("Enter")

    expect(page.locator("#receipt-number")).to_contain_text("-1-2")
    till.await_unsent(0)


def test_a_newer_till_waits_until_nothing_is_unsent(station: Any) -> None:
    till = station.till
    page = till.page

    def newer(request: Any, go: Any) -> Any:
        answer = go()
        if request.path == "/till/sw.js":
            answer.set_data(answer.get_data().replace(b'VERSION = "', b'VERSION = "newer-'))
        return answer

    def newer_and_away(request: Any, go: Any) -> Any:
        if request.path.startswith("/api/"):
            from werkzeug.wrappers import Response

            return Response("no route", 503)
        return newer(request, go)

    caches = "caches.keys().then((names) => names.join())"
    station.link.fault = newer_and_away
    till.sell(500)
    page.evaluate("document.body.dataset.old = 'yes'")
    page.evaluate("navigator.serviceWorker.getRegistration('/till/').then((one) => one.update())")
    expect(page.locator("body")).to_have_attribute("data-old", "yes")
    page.wait_for_function(
        "navigator.serviceWorker.getRegistration('/till/').then((one) => Boolean(one.waiting))"
    )
    assert "newer-" in page.evaluate(caches)
    expect(page.locator("body")).to_have_attribute("data-old", "yes")

    station.link.fault = newer
    till.go("status")
    page.get_by_role("button", name="Reach the centre now").click()

    # Sent: it takes over and loads the page again, once the browser lets the old worker go.
    expect(page.locator("body")).not_to_have_attribute("data-old", "yes", timeout=60_000)
    till.await_unsent(0)
    assert page.evaluate(caches).count("till-") == 1
