"""Goods and money that come back, parcels, orders and shifts: all that is not a plain sale."""

import json
from typing import Any

import pytest
from playwright.sync_api import expect
from werkzeug.wrappers import Response

from farmgate.failures import Refused
from tests.support.servers import wait_until

#: As a keyboard for Chinese writes figures.
FULL_WIDTH = {ord("0") + figure: ord("０") + figure for figure in range(10)}

pytestmark = [pytest.mark.system, pytest.mark.browser]


def no_route(request: Any, go: Any) -> Response:
    """A link that is down, with something near that says so."""
    return Response("no route", 503)


def void(till: Any) -> None:
    """Void the sale whose receipt is shown."""
    till.page.get_by_role("button", name="Void the sale").click()
    till.page.get_by_role("button", name="Void it and give the money back").click()
    expect(till.page.locator(".till-receipt")).to_contain_text("Void")
    expect(till.page.get_by_role("button", name="Void the sale")).to_have_count(0)


def test_a_sale_that_was_never_sent_can_be_voided_and_its_goods_sold_again_at_once(
    centre: Any, station: Any
) -> None:
    till = station.till
    # Nobody is there at all, so nothing of the journal is even tried to be sent.
    till.context.set_offline(True)
    till.sell(5_000)
    void(till)

    assert till.left() == "5 kg left"
    till.sell(5_000)
    till.context.set_offline(False)
    till.reach()
    till.await_unsent(0)

    entries = centre.entries(station.device)
    assert [(e["number"], e["kind"], e["status"], e["voided"]) for e in entries[1:]] == [
        (2, "sale", "accepted", True),
        (3, "void", "accepted", True),
        (4, "sale", "accepted", False),
    ]
    centre.await_sold(station.device, station.lot, 5_000)
    assert centre.differences() == []


def test_a_void_of_a_sale_that_was_sent_brings_its_goods_back_with_the_next_contact(
    centre: Any, station: Any
) -> None:
    """OCA/pos#172; itpp-labs/pos-addons#864: an offline void counts once."""
    till = station.till
    till.sell(5_000)
    till.await_unsent(0)
    station.link.fault = no_route
    void(till)
    till.go("sell")
    expect(till.tile()).to_contain_text("sold out")

    station.link.fault = None
    till.reach()
    till.await_unsent(0)

    def granted_again() -> bool:
        till.reach()
        return bool(till.left() == "5 kg left")

    wait_until(granted_again, 20, "the till may sell the voided goods again")
    assert centre.differences() == []


def test_who_gives_back_in_another_way_than_was_paid_is_told_that_the_centre_asks(
    centre: Any, station: Any
) -> None:
    till = station.till
    till.sell(500)
    till.page.get_by_role("button", name="Void the sale").click()
    dialog = till.page.locator("dialog")
    expect(dialog.get_by_text("the centre will ask")).to_be_hidden()
    dialog.get_by_text("Mobile", exact=True).click()
    expect(dialog.get_by_text("the centre will ask")).to_be_visible()
    dialog.get_by_role("button", name="Void it and give the money back").click()
    expect(till.page.locator(".till-receipt")).to_contain_text("Void")
    till.reach()
    till.await_unsent(0)

    (entry,) = centre.entries(station.device, kind="void")
    assert (entry["status"], entry["flags"]) == ("accepted", ["payment_differs"])


def test_goods_come_back_by_line_and_never_more_than_were_sold(centre: Any, station: Any) -> None:
    till = station.till
    page = till.page
    number = till.sell(1_000)

    def give_back(grams: int, spoiled: bool = False) -> None:
        till.go("journal")
        page.get_by_role("link", name=number).filter(has_text="Receipt").click()
        page.get_by_role("button", name="Take goods back").click()
        page.get_by_label("Grams that come back").fill(str(grams))
        if spoiled:
            page.get_by_text("are spoiled").click()

    done = page.get_by_role("button", name="Take back and give the money back")
    give_back(1_001)
    expect(done).to_be_disabled()
    page.keyboard.press("Escape")
    give_back(333)
    expect(page.locator("dialog .till-total")).to_have_text("¥62.67")
    done.click()
    expect(page.locator(".till-receipt")).to_contain_text("Return")
    give_back(668)
    expect(done).to_be_disabled()
    page.keyboard.press("Escape")
    give_back(667, spoiled=True)
    # Together exactly what was paid: 188.20.
    expect(page.locator("dialog .till-total")).to_have_text("¥125.53")
    done.click()
    expect(page.locator(".till-receipt")).to_contain_text("spoiled")
    till.await_unsent(0)

    entries = centre.entries(station.device)
    assert [(e["kind"], e["status"], e["total_fen"]) for e in entries[1:]] == [
        ("sale", "accepted", 18_820),
        ("return", "accepted", 6_267),
        ("return", "accepted", 12_553),
    ]
    lot_id = station.lot["lot_id"]
    wait_until(
        lambda: centre.allotments(station.device)[lot_id]["granted"] == 5_333,
        20,
        "what can be sold again is granted again, what is spoiled is not",
    )
    assert centre.differences() == []


def test_a_second_click_sells_once(centre: Any, station: Any) -> None:
    till = station.till
    till.fill_cart(500)
    till.page.locator(".till-pay").click()

    till.page.evaluate("""() => {
      const form = document.querySelector("dialog form");
      for (let i = 0; i < 3; i += 1) form.requestSubmit();
    }""")

    expect(till.page.locator("#receipt-number")).to_contain_text("-1-2")
    till.await_unsent(0)
    assert len(centre.entries(station.device)) == 2
    assert till.errors == []


def test_a_lot_can_be_chosen_and_the_first_to_expire_goes_first(centre: Any, station: Any) -> None:
    """BrainWise-DEV/POSNext#335: a lot can be chosen offline."""
    till = station.till
    older = centre.lot("HONEY", 5_000, best_before="2027-03-01")
    centre.grant(station.device, older, 600)
    till.reach()
    station.link.fault = no_route
    till.sell(1_000)
    lines = [older["code"], station.lot["code"]]
    for code in lines:
        expect(till.page.locator(".till-receipt")).to_contain_text(code)
    till.go("sell")
    till.tile().click()
    expect(till.page.get_by_text(older["code"])).to_contain_text("sold out")
    till.page.keyboard.press("Escape")

    till.go("stock")
    row = till.page.locator("div.list-group-item", has_text=station.lot["code"])
    expect(row).to_contain_text("4.6 kg")
    row.get_by_role("button", name="Give back").click()
    till.page.get_by_label("Grams that come back").fill("1600")
    till.page.locator("dialog").get_by_role("button", name="Give back", exact=True).click()
    expect(row).to_contain_text("3 kg")
    expect(till.page.locator("main")).to_contain_text("1.6 kg · not sent yet")
    station.link.fault = None
    till.reach()

    allotment = centre.allotments(station.device)[station.lot["lot_id"]]
    assert (allotment["returned"], allotment["remaining"]) == (1_600, 3_000)
    till.go("stock")
    expect(row).to_contain_text("3 kg")
    assert centre.differences() == []


def test_a_shift_is_closed_with_a_count_and_its_difference_is_seen(
    centre: Any, station: Any
) -> None:
    till = station.till
    page = till.page
    till.sell(500)
    till.sell(100)
    station.link.fault = no_route
    void(till)
    till.go("shift")
    expect(page.locator("main")).to_contain_text("¥294.10")
    page.get_by_role("button", name="Close the shift").click()
    dialog = page.locator("dialog")
    dialog.get_by_text("Count by notes").click()
    dialog.get_by_label("How many of ¥100.00").fill("2")
    dialog.get_by_label("How many of ¥50.00").fill("1")
    dialog.get_by_label("How many of ¥20.00").fill("2")
    expect(dialog).to_contain_text("Difference: −¥4.10")
    expect(dialog).to_contain_text("not sent yet")
    dialog.get_by_label("Note on a difference").fill("change")
    dialog.get_by_role("button", name="Close the shift").click()

    expect(page.locator(".till-receipt")).to_contain_text("−¥4.10")
    till.go("sell")
    expect(page.locator("main")).to_contain_text("No shift is open")
    station.link.fault = None
    till.reach()
    till.await_unsent(0)
    shifts = centre.client.pages("orders", "/cash/shifts", device_id=station.device["device_id"])
    assert [(s["clerk"], s["expected_fen"], s["counted_fen"]) for s in shifts] == [
        ("卓玛", 29_410, 29_000)
    ]


def order(till: Any, name: str, phone: str, collect: bool = False) -> None:
    """Take an order of 1 kg of honey for a buyer."""
    page = till.page
    till.go("order")
    page.get_by_role("button", name="+ Wild honey").click()
    page.get_by_role("button", name="+ Wild honey").click()
    page.get_by_label("Buyer's name").fill(name)
    page.get_by_label("Telephone").fill(phone)
    if collect:
        page.get_by_text("Collected here").click()
    else:
        page.get_by_label("Address").fill("巴河镇 1 号")
    page.get_by_role("button", name="Take the order").click()
    expect(page.locator(".till-receipt")).to_contain_text("Order")


def kept_on(till: Any) -> str:
    """Everything that the device keeps, as text."""
    return str(
        till.page.evaluate("""async () => {
      const opened = indexedDB.open("farmgate-till");
      await new Promise((done) => { opened.onsuccess = done; });
      const all = {};
      for (const store of opened.result.objectStoreNames) {
        if (store === "reserve") continue;
        const request = opened.result.transaction(store).objectStore(store).getAll();
        await new Promise((done) => { request.onsuccess = done; });
        all[store] = request.result;
      }
      opened.result.close();
      return JSON.stringify(all);
    }""")
    )


def test_an_order_taken_offline_is_placed_and_the_buyers_contact_leaves_the_device(
    centre: Any, station: Any
) -> None:
    till = station.till
    station.link.fault = no_route
    order(till, "次仁", "13800138000")
    assert "次仁" in kept_on(till)
    station.link.fault = None

    till.reach()
    till.await_unsent(0)

    (entry,) = centre.entries(station.device, kind="order")
    assert entry["status"] == "accepted"
    wait_until(
        lambda: centre.client.get("orders", f"/orders/{entry['sale_id']}")["state"] == "confirmed",
        20,
        "the order is confirmed",
    )
    left = kept_on(till)
    assert "次仁" not in left and "13800138000" not in left and "巴河镇 1 号" not in left
    till.page.reload()
    till.go("journal")
    expect(till.page.get_by_text("Order", exact=True)).to_have_count(2)


@pytest.mark.parametrize(
    ("phone", "says"),
    [
        ("1-800-FLOWERS", "figures only"),
        ("13800138000 转 8", "An extension gets no messages"),
        ("1380013800", "No telephone has this number"),
    ],
)
def test_an_order_is_not_taken_with_a_number_that_reaches_nobody(
    station: Any, phone: str, says: str
) -> None:
    till = station.till
    page = till.page
    till.go("order")
    page.get_by_role("button", name="+ Wild honey").click()
    page.get_by_label("Buyer's name").fill("\u3000\u200b")
    page.get_by_label("Telephone").fill(phone)
    page.get_by_text("Collected here").click()
    take = page.get_by_role("button", name="Take the order")
    take.click()
    expect(page.get_by_role("alert")).to_contain_text("Fill in what is missing")
    page.get_by_label("Buyer's name").fill("次仁")
    take.click()
    expect(page.get_by_role("alert")).to_contain_text(says)
    page.get_by_label("Telephone").fill("１３８ ００１３ ８０００")

    take.click()

    expect(page.locator(".till-receipt")).to_contain_text("Order")


def test_a_clerks_name_is_kept_in_the_form_that_the_centre_gives_it(
    centre: Any, station: Any
) -> None:
    till = station.till
    till.go("shift")
    till.page.get_by_role("button", name="Close the shift").click()
    dialog = till.page.locator("dialog")
    dialog.get_by_label("Counted").fill("200")
    dialog.get_by_role("button", name="Close the shift").click()
    expect(till.page.locator(".till-receipt")).to_be_visible()
    till.open_shift("\u200b卓玛\u3000拉姆\u00a0", "0")
    till.sell(500)
    till.reach()
    till.await_unsent(0)

    (sale,) = centre.entries(station.device, kind="sale")
    assert (sale["clerk"], sale["flags"]) == ("卓玛 拉姆", [])
    body = centre.client.get("orders", f"/station-sales/{sale['sale_id']}")["body"]
    assert body["clerk"] == "卓玛 拉姆"


def parcel(centre: Any, till: Any, device: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Have an order come to the till's site to be collected; return its shipment and code."""
    order(till, "次仁", "13800138000", collect=True)
    till.await_unsent(0)
    (entry,) = centre.entries(device, kind="order")
    found: list[dict[str, Any]] = []

    def planned() -> bool:
        found[:] = centre.client.get("logistics", "/shipments", order_id=entry["sale_id"])["items"]
        return bool(found)

    wait_until(planned, 20, "the shipment is planned")
    shipment = found[0]
    path = f"/shipments/{shipment['shipment_id']}"
    centre.client.post("logistics", f"{path}/pack", {})
    centre.client.post("logistics", f"{path}/dispatch", {})
    centre.client.post("logistics", f"{path}/arrivals", {"site_id": shipment["site_id"]})
    codes: list[str] = []
    folder = centre.system.folder / "var"

    def told() -> bool:
        for file in folder.rglob("*.jsonl"):
            for line in file.read_text(encoding="utf-8").splitlines():
                if shipment["shipment_ref"] in line or entry["sale_id"] in line:
                    codes[:] = [w for w in _words(json.loads(line)) if w.isdigit() and len(w) == 6]
        return bool(codes)

    wait_until(told, 30, "the buyer was told the code")
    till.reach()
    return shipment, codes[0]


def _words(message: Any) -> list[str]:
    text = json.dumps(message, ensure_ascii=False)
    return "".join(sign if sign.isascii() and sign.isalnum() else " " for sign in text).split()


def test_a_parcel_is_handed_out_offline_by_its_code_only(centre: Any, station: Any) -> None:
    till = station.till
    page = till.page
    shipment, code = parcel(centre, till, station.device)
    station.link.fault = no_route
    till.go("parcels")
    expect(page.locator("main")).not_to_contain_text("null")
    page.get_by_role("button", name=shipment["shipment_ref"]).click()
    page.get_by_label("Code", exact=True).fill(str((int(code) + 1) % 1_000_000).zfill(6))
    hand_out = page.get_by_role("button", name="Hand out", exact=True)
    hand_out.click()
    assert "4 tries are left" in till.told()
    page.get_by_label("Code", exact=True).fill(code.translate(FULL_WIDTH))

    hand_out.click()

    expect(page.locator(".till-receipt")).to_contain_text("Parcel handed out")
    till.go("parcels")
    expect(page.get_by_role("heading", name="Parcels")).to_be_visible()
    expect(page.locator("main")).not_to_contain_text(shipment["shipment_ref"])
    station.link.fault = None
    till.reach()
    till.await_unsent(0)
    path = f"/shipments/{shipment['shipment_id']}"
    wait_until(
        lambda: centre.client.get("logistics", path)["shipment"]["state"] == "collected",
        20,
        "logistics knows that it was collected",
    )


def _is_stopped(centre: Any, shipment: dict[str, Any]) -> bool:
    """Ask for what is refused in any case: if no lot is held, for want of a name or code."""
    path = f"/shipments/{shipment['shipment_id']}/collect"
    with pytest.raises(Refused) as refused:
        centre.client.post("logistics", path, {"collected_fen": 0})
    return "which is held" in str(refused.value)


def _hears_of_it(page: Any) -> bool:
    return bool(
        page.evaluate(
            """async () => (await import("/till/static/js/state.js")).now()
              .parcels.some((one) => one.stopped)"""
        )
    )


def test_a_parcel_with_a_held_lot_is_not_handed_out_until_the_lot_is_released(
    centre: Any, station: Any
) -> None:
    """Also where its code was typed before the till heard of it."""
    till = station.till
    page = till.page
    shipment, code = parcel(centre, till, station.device)
    carried = centre.client.get("logistics", f"/shipments/{shipment['shipment_id']}")["lines"]
    lot = carried[0]["lots"][0]
    row = page.get_by_role("button", name=shipment["shipment_ref"])
    till.go("parcels")
    row.click()
    page.get_by_label("Code", exact=True).fill(code)

    centre.client.post("catalog", f"/lots/{lot['lot_id']}/hold", {"reason": "residue?"})
    wait_until(lambda: _is_stopped(centre, shipment), 20, "logistics knows that the lot is held")
    page.evaluate("import('/till/static/js/sync.js').then((sync) => sync.soon())")
    wait_until(lambda: _hears_of_it(page), 90, "the till heard of it")
    page.get_by_role("button", name="Hand out", exact=True).click()

    assert "The centre stopped this parcel" in till.told()
    page.keyboard.press("Escape")
    till.go("parcels")
    expect(page.locator("main")).to_contain_text(f"lot {lot['lot_code']} is held for inspection")
    expect(row).to_have_count(0)
    centre.client.post("catalog", f"/lots/{lot['lot_id']}/release")
    wait_until(lambda: not _is_stopped(centre, shipment), 20, "logistics knows that it is released")
    till.reach()
    till.go("parcels")
    expect(row).to_be_visible()


def test_a_code_that_was_tried_wrongly_five_times_is_locked_also_after_a_reload(
    centre: Any, station: Any
) -> None:
    till = station.till
    page = till.page
    shipment, code = parcel(centre, till, station.device)
    station.link.fault = no_route
    till.go("parcels")
    page.get_by_role("button", name=shipment["shipment_ref"]).click()
    for left in (4, 3, 2, 1, 0):
        page.get_by_label("Code", exact=True).fill(str((int(code) + 1) % 1_000_000).zfill(6))
        page.get_by_role("button", name="Hand out", exact=True).click()
        expected = f"{left} tries are left" if left else "cannot be used any more"
        assert expected in till.told()
    page.reload()

    page.get_by_role("button", name=shipment["shipment_ref"]).click()

    expect(page.locator("dialog")).to_contain_text("The code cannot be used any more")
    expect(page.get_by_label("the code")).to_be_disabled()
    page.get_by_label("Name of who takes it").fill("次仁")
    page.get_by_role("button", name="Hand out", exact=True).click()
    expect(page.locator(".till-receipt")).to_contain_text("次仁")
