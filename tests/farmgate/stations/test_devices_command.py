"""`farmgate devices` and `farmgate cash` against running services, with simulated tills."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import Result

from demo.offline.device import Till
from demo.offline.link import Line
from farmgate.client import Client
from farmgate.commands.devices.disputes import MOST_ENTRIES
from farmgate.stations import quantities, yuan
from tests.support import UNKNOWN_ID
from tests.support.processes import Processes
from tests.support.servers import wait_until

# One system for all of them, so one worker.
pytestmark = pytest.mark.xdist_group("devices_command")


def sell(till: Till, quantity: int) -> int:
    (allotment_id,) = till.store.allotments
    return till.sell([(allotment_id, quantity)], "cash", "Dolma")


def words(result: Result) -> str:
    """What was printed, without the lines and line breaks of tables."""
    return " ".join(result.stdout.replace("│", " ").split())


def test_a_new_devices_code_enrols_a_till_and_the_list_shows_it(
    farmgate: Callable[..., Result], world: dict[str, Any], system: Processes
) -> None:
    printed = farmgate("devices", "add", "T", "--name", "柜台二").stdout

    device, code = printed.split()[1].rstrip(","), printed.split()[4]
    assert f"{system.urls['catalog']}/till" in printed
    assert f"farmgate devices grant {device}" in printed
    new = words(farmgate("devices", "list", "--site", "T"))
    assert f"T {device} new 0 never" in new
    Till(Line(system.urls)).enrol(code)
    assert f"T {device} active 1" in words(farmgate("devices", "list"))


def test_a_device_at_no_site_is_refused_with_what_to_do(farmgate: Callable[..., Result]) -> None:
    done = farmgate("devices", "add", "nowhere", code=1)

    assert "no site nowhere" in done.output
    assert "farmgate sample load" in done.output


def test_what_is_granted_is_heard_of_at_the_next_contact(
    farmgate: Callable[..., Result], till: Till, lot: dict[str, str]
) -> None:
    code = till.store.device_code

    granted = farmgate("devices", "grant", code, lot["code"], "4", "--packs")

    assert f"{code} may sell 2,000 g of lot {lot['code']} (HONEY-1)" in granted.stdout
    before = words(farmgate("devices", "show", code))
    till.contact()
    till.contact()  # what it has seen, it says at the next one
    after = words(farmgate("devices", "show", code))
    assert "not heard" in before
    assert "not heard" not in after
    assert f"{lot['code']} HONEY-1 1 2,000 0 0 0 2,000 active" in after
    assert "2,000 g 0 0" in words(farmgate("devices", "list"))


def test_by_sku_the_lots_are_chosen(
    farmgate: Callable[..., Result], till: Till, lot: dict[str, str]
) -> None:
    granted = farmgate("devices", "grant", till.store.device_code, "HONEY-1", "500", "--json")

    assert sum(each["granted"] for each in json.loads(granted.stdout)) == 500


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("grant", "T-99", "HONEY-1", "1"), "no device T-99"),
        (("grant", "{device}", "WINE-1", "1"), "neither a lot's code nor a SKU"),
        (("grant", "{device}", "HONEY-1", "900000000"), "catalog answered 409"),
        (("return", "{device}", "LOT-X", "1"), "no allotment of lot LOT-X"),
        (("holding", "LOT-X"), "no lot LOT-X"),
        (("rule", "T", "WINE-1", "1"), "no variant WINE-1"),
        (("settle", str(uuid4()), "lose", "--reason", "x"), "catalog answered 404"),
    ],
)
def test_what_cannot_be_done_is_said(
    farmgate: Callable[..., Result], till: Till, arguments: tuple[str, ...], says: str
) -> None:
    filled = [each.format(device=till.store.device_code) for each in arguments]

    assert says in words_of_error(farmgate("devices", *filled, code=1))


def words_of_error(result: Result) -> str:
    return " ".join(result.output.split())


def test_a_held_lot_shows_who_has_not_heard(
    farmgate: Callable[..., Result], client: Client, stocked: Till, lot: dict[str, str]
) -> None:
    client.post("catalog", f"/lots/{lot['lot_id']}/hold", {"reason": "mould was found"})

    shown = words(farmgate("devices", "holding", lot["code"]))

    assert f"{stocked.store.device_code} epoch 1 2,000 suspended, lot_held no" in shown


def test_goods_come_back_are_stopped_and_counted(
    farmgate: Callable[..., Result], stocked: Till, lot: dict[str, str]
) -> None:
    named = (stocked.store.device_code, lot["code"])

    back = farmgate("devices", "return", *named, "500").stdout
    stopped = farmgate("devices", "suspend", *named, "--reason", "fridge").stdout
    again = farmgate("devices", "resume", *named).stdout
    late = ("devices", "count", *named, "1000", "--reason", "one was torn", "--book", "2000")
    refused = farmgate(*late, code=1).output
    counted = farmgate("devices", "count", *named, "1000", "--reason", "one was torn").stdout

    assert "1,500 remaining of 2,000 granted (0 sold, 500 returned, 0 written off)" in back
    assert "suspended" in stopped
    assert "suspended" not in again
    assert "The books said 2000 when it was counted and say 1500 now" in refused
    assert "closed, 0 remaining" in counted
    assert "500 written off" in counted


def test_a_rule_keeps_goods_at_a_site_until_it_ends(
    farmgate: Callable[..., Result], world: dict[str, Any]
) -> None:
    # At a site without a till nothing is granted meanwhile.
    set_ = farmgate("devices", "rule", "K", "HONEY-1", "3").stdout
    shown = words(farmgate("devices", "rules"))
    farmgate("devices", "rule", "K", "HONEY-1", "0")
    listed = json.loads(farmgate("devices", "rules", "--json").stdout)

    assert "1,500 g (3 packs) of HONEY-1 are kept at K" in set_
    assert "K HONEY-1 3 1,500 g" in shown
    assert listed == []


def test_a_replaced_machine_may_only_upload_what_it_sold(
    farmgate: Callable[..., Result], system: Processes, stocked: Till
) -> None:
    code = stocked.store.device_code
    sell(stocked, 500)

    replaced = json.loads(farmgate("devices", "replace", code, "--json").stdout)
    other = Till(Line(system.urls))
    other.enrol(replaced["enrolment_code"])

    assert (other.store.device_code, other.store.epoch) == (code, 2)
    assert stocked.upload() == 2
    shown = words(farmgate("devices", "show", code))
    assert "status: active, epoch 2" in shown
    assert "Journal of epoch 1: 2 entries up to number 2" in shown


def test_a_revoked_device_speaks_no_more_and_its_file_is_taken(
    farmgate: Callable[..., Result], tmp_path: Path, stocked: Till, knows: Callable[[Till], bool]
) -> None:
    code = stocked.store.device_code
    sell(stocked, 500)
    file = tmp_path / "till.json"
    file.write_text(json.dumps(stocked.export()), encoding="utf-8")

    farmgate("devices", "revoke", code, code=1, typed="n\n")
    farmgate("devices", "revoke", code, "--yes", "--reason", "stolen")
    wait_until(lambda: not knows(stocked), 20, "orders hears of it")
    first = farmgate("devices", "import", code, str(file)).stdout
    second = farmgate("devices", "import", code, str(file)).stdout

    assert "2 accepted" in first
    assert "2 duplicate" in second


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("no json", "cannot be read"),
        ("{}", "not from a till"),
        (
            json.dumps({"device_id": str(UNKNOWN_ID), "epoch": 1, "entries": [{}]}),
            "from another device",
        ),
    ],
)
def test_a_file_that_is_not_this_tills_is_refused(
    farmgate: Callable[..., Result], tmp_path: Path, till: Till, content: str, says: str
) -> None:
    file = tmp_path / "till.json"
    file.write_text(content, encoding="utf-8")

    done = farmgate("devices", "import", till.store.device_code, str(file), code=1)

    assert says in words_of_error(done)


def test_a_long_file_is_taken_in_parts_and_what_cannot_be_kept_is_named(
    farmgate: Callable[..., Result], tmp_path: Path, till: Till
) -> None:
    exported = till.export()
    exported["entries"] += [{"number": n, "kind": "?"} for n in range(2, MOST_ENTRIES + 5)]
    exported["entries"].append({"kind": "sale"})
    text = json.dumps(exported)
    for flaw in ("NaN", '"a", "kind": "a"', "[" * 2000 + "]" * 2000):
        text = text.replace('"kind": "?"', f'"kind": {flaw}', 1)
    file = tmp_path / "till.json"
    file.write_text(text, encoding="utf-8")

    done = farmgate("devices", "import", till.store.device_code, str(file), code=1)

    assert f"1 accepted, {MOST_ENTRIES + 3} disputed, 1 refused" in done.stdout
    assert "entry None: refused" in done.stdout


def test_a_sale_beyond_the_grant_is_listed_and_decided(
    farmgate: Callable[..., Result], client: Client, stocked: Till
) -> None:
    backup = stocked.snapshot()
    sell(stocked, 2000)
    stocked.upload()
    # Restored from a backup, the till does not know that all is sold.
    stocked.restore(replace(backup, journal=dict(stocked.store.journal)))
    _forge_sale(stocked, 500)
    stocked.upload()
    (sale,) = _wait_for_disputes(client, stocked)

    listed = words(farmgate("devices", "disputes"))
    assert "beyond_grant" in listed
    settled = farmgate(
        "devices", "settle", sale["sale_id"], "lose", "--reason", "clerk was warned"
    ).stdout

    assert f"Sale {sale['sale_id']} is lost" in settled
    wait_until(
        lambda: client.get("orders", f"/station-sales/{sale['sale_id']}")["status"] == "settled",
        20,
        "orders hears of the decision",
    )
    device = _device(farmgate, stocked)
    assert device["open_overdrafts"] == 0


def _forge_sale(till: Till, quantity: int) -> None:
    """Let a till write a sale that its quota does not allow."""
    (allotment,) = till.store.allotments.values()
    more = replace(allotment, granted=allotment.granted + quantity)
    till.restore(replace(till.store, allotments={allotment.allotment_id: more}))
    sell(till, quantity)


def _wait_for_disputes(client: Client, till: Till) -> list[dict[str, Any]]:
    def found() -> list[dict[str, Any]]:
        query = {"device_id": till.store.device_id, "status": "disputed"}
        return list(client.pages("orders", "/station-sales", **query))

    wait_until(lambda: bool(found()), 20, "the sale is disputed")
    return found()


def _device(farmgate: Callable[..., Result], till: Till) -> dict[str, Any]:
    listed = json.loads(farmgate("devices", "list", "--json").stdout)
    return next(each for each in listed if each["device_id"] == till.store.device_id)


def test_an_entry_that_moves_no_stock_is_acknowledged(
    farmgate: Callable[..., Result], client: Client, tmp_path: Path, till: Till
) -> None:
    exported = till.export()
    exported["entries"].append({"number": 2, "kind": "dance"})
    file = tmp_path / "till.json"
    file.write_text(json.dumps(exported), encoding="utf-8")
    farmgate("devices", "import", till.store.device_code, str(file))
    (entry,) = _wait_for_disputes(client, till)

    whose = (entry["sale_id"], "--note", "a test")
    refused = farmgate("devices", "acknowledge", *whose, "--book-cash", code=1)
    done = farmgate("devices", "acknowledge", *whose)

    assert "cannot be read" in words_of_error(refused)
    assert (
        f"Entry {entry['sale_id']} is acknowledged. Neither goods nor money were booked"
        in words(done)
    )


def test_an_entry_that_nobody_could_read_is_corrected_and_booked(
    farmgate: Callable[..., Result], client: Client, tmp_path: Path, till: Till
) -> None:
    exported = till.export()
    opening = next(each for each in exported["entries"] if each["kind"] == "shift_open")
    clerk = f"Pema {uuid4().hex[:6]}"
    unread = opening | {"number": 90, "shift": 90, "clerk": clerk, "colour": "red"}
    file = tmp_path / "till.json"
    file.write_text(json.dumps(exported | {"entries": [unread]}), encoding="utf-8")
    farmgate("devices", "import", till.store.device_code, str(file))
    (entry,) = _wait_for_disputes(client, till)
    whose = ("devices", "correct", entry["sale_id"], "--note", "asked")

    farmgate(*whose, "colour", code=2)
    refused = farmgate(*whose, "shift:=90", code=1)
    listed = words(farmgate("devices", "disputes"))
    done = farmgate(*whose, "colour:=null", "float_fen:=500")

    assert "unknown field `colour`" in words_of_error(refused)
    assert "correct" in listed
    assert f"The shift_open of {clerk} is accepted." in words(done)
    (shift,) = client.pages("orders", "/cash/shifts", clerk=clerk)
    assert shift["float_fen"] == 500


def test_the_goods_and_the_money_of_a_corrected_sale_are_booked(
    farmgate: Callable[..., Result], client: Client, tmp_path: Path, stocked: Till
) -> None:
    sell(stocked, 500)
    exported = stocked.export()
    exported["entries"] = [
        entry | ({"colour": "red"} if entry["kind"] == "sale" else {})
        for entry in exported["entries"]
    ]
    file = tmp_path / "till.json"
    file.write_text(json.dumps(exported), encoding="utf-8")
    farmgate("devices", "import", stocked.store.device_code, str(file))
    (entry,) = _wait_for_disputes(client, stocked)

    done = farmgate("devices", "correct", entry["sale_id"], "colour:=null", "--note", "asked")

    assert "of Dolma is accepted." in words(done)
    path = f"/devices/{stocked.store.device_id}"
    wait_until(
        lambda: client.get("catalog", path)["allotments"][0]["sold"] == 500,
        20,
        "catalog books the goods",
    )


def test_a_clerk_without_a_name_is_listed_and_gets_one(
    farmgate: Callable[..., Result], client: Client, tmp_path: Path, till: Till
) -> None:
    exported = till.export()
    opening = next(each for each in exported["entries"] if each["kind"] == "shift_open")
    nameless = opening | {"number": 91, "shift": 91, "clerk": "\u3000"}
    file = tmp_path / "till.json"
    file.write_text(json.dumps(exported | {"entries": [nameless]}), encoding="utf-8")
    farmgate("devices", "import", till.store.device_code, str(file))
    query = {"device_id": till.store.device_id, "flagged": True}
    (entry,) = client.pages("orders", "/station-sales", **query)
    clerk = f"Dawa {uuid4().hex[:6]}"

    listed = words(farmgate("devices", "flagged"))
    farmgate("devices", "correct", entry["sale_id"], f"clerk={clerk}", "--note", "asked")

    assert entry["sale_id"] in listed
    assert "clerk_unclear" in listed
    assert list(client.pages("orders", "/station-sales", **query)) == []
    assert len(list(client.pages("orders", "/cash/shifts", clerk=clerk))) == 1


def test_cash_is_held_until_it_is_handed_on(
    farmgate: Callable[..., Result], client: Client, till: Till, lot: dict[str, str]
) -> None:
    clerk = f"Pema {uuid4().hex[:6]}"
    till.close_shift(0, "Dolma")
    till.open_shift(1000, clerk)
    farmgate("devices", "grant", till.store.device_code, lot["code"], "1000")
    till.contact()
    (allotment_id,) = till.store.allotments
    till.sell([(allotment_id, 1000)], "cash", clerk)
    till.close_shift(20_600, clerk)
    till.upload()

    held = words(farmgate("cash", "custody", "--site", "T", "--clerk", clerk))
    shifts = words(farmgate("cash", "shifts", "--site", "T"))
    farmgate("cash", "remit", "T", clerk, "196", "195.50", code=1)
    farmgate("cash", "remit", "T", clerk, "196", "195.50", "--reason", "a torn note")
    farmgate("cash", "write-off", "T", clerk, "0", "--reason", "nothing", code=1)
    (after,) = json.loads(farmgate("cash", "custody", "--clerk", clerk, "--json").stdout)

    assert f"T {clerk} ¥196.00 ¥0.00 ¥0.00 ¥0.00 ¥196.00" in held
    assert f"{clerk}" in shifts
    assert after["held_fen"] == 0
    assert after["collected_fen"] == after["remitted_fen"] + after["written_off_fen"]


@pytest.fixture
def clerk(farmgate: Callable[..., Result], till: Till, lot: dict[str, str]) -> str:
    """A clerk of T who holds 98 yuan."""
    name = f"Pema {uuid4().hex[:6]}"
    till.close_shift(0, "Dolma")
    till.open_shift(0, name)
    farmgate("devices", "grant", till.store.device_code, lot["code"], "500")
    till.contact()
    (allotment_id,) = till.store.allotments
    till.sell([(allotment_id, 500)], "cash", name)
    till.upload()
    return name


def held_by(farmgate: Callable[..., Result], clerk: str) -> list[int]:
    rows = json.loads(farmgate("cash", "custody", "--clerk", clerk, "--json").stdout)
    return [row["held_fen"] for row in rows]


@pytest.mark.parametrize(
    "command",
    [("remit", "T", "{clerk}", "10", "10"), ("write-off", "T", "{clerk}", "10", "--reason", "x")],
    ids=lambda command: command[0],
)
def test_money_is_booked_once_however_often_the_command_is_run(
    farmgate: Callable[..., Result], clerk: str, command: tuple[str, ...]
) -> None:
    asked = ("cash", *(each.format(clerk=clerk) for each in command))

    first = farmgate(*asked).stdout
    second = farmgate(*asked).stdout
    told = json.loads(farmgate(*asked, "--json").stdout)
    once = held_by(farmgate, clerk)
    farmgate(*asked, "--another", "2")
    farmgate(*asked, "--another", "2")

    assert first.startswith("¥10.00")
    assert "Nothing was booked again" in second
    assert "--another" in second
    assert told["was_done_before"] is True
    assert (once, held_by(farmgate, clerk)) == ([8800], [7800])


def test_a_slip_of_a_name_books_nothing_and_the_near_name_is_told(
    farmgate: Callable[..., Result], clerk: str
) -> None:
    slip = clerk.replace("Pema", "Pena")

    done = words_of_error(farmgate("cash", "remit", "T", slip, "10", "10", code=1))

    assert f"Did you mean {clerk}" in done
    assert "--accept-shortage" in done
    assert (held_by(farmgate, clerk), held_by(farmgate, slip)) == ([9800], [])


def test_more_than_a_clerk_holds_is_booked_only_when_that_is_said(
    farmgate: Callable[..., Result], clerk: str
) -> None:
    asked = ("cash", "remit", "T", clerk, "100", "100")

    refused = words_of_error(farmgate(*asked, code=1))
    held = held_by(farmgate, clerk)
    farmgate(*asked, "--accept-shortage")

    assert f"{clerk} holds 9800 fen and not 10000" in refused
    assert (held, held_by(farmgate, clerk)) == ([9800], [-200])


def test_what_was_refused_is_booked_when_it_has_become_right(
    farmgate: Callable[..., Result], till: Till, clerk: str, lot: dict[str, str]
) -> None:
    """A refusal is kept for a day with the key that the same command has again."""
    asked = ("cash", "remit", "T", clerk, "100", "100")
    farmgate(*asked, code=1)
    farmgate(*asked, code=1)

    farmgate("devices", "grant", till.store.device_code, lot["code"], "500", "--another", "2")
    till.contact()
    till.sell([(list(till.store.allotments)[-1], 500)], "cash", clerk)
    till.upload()
    farmgate(*asked)

    assert held_by(farmgate, clerk) == [19_600 - 10_000]


def test_slips_of_amounts_book_nothing(farmgate: Callable[..., Result], clerk: str) -> None:
    for amount in ("1e1", "NaN", "１０", "10,00", "10.001", "1_0", "-5", ""):
        farmgate("cash", "remit", "T", clerk, "--", amount, amount, code=2)
        farmgate("cash", "write-off", "T", clerk, "--reason", "x", "--", amount, code=2)

    assert held_by(farmgate, clerk) == [9800]


def test_goods_are_granted_and_taken_back_once_however_often_the_command_is_run(
    farmgate: Callable[..., Result], till: Till, lot: dict[str, str]
) -> None:
    code = till.store.device_code

    farmgate("devices", "grant", code, lot["code"], "1000")
    granted = farmgate("devices", "grant", code, lot["code"], "1000")
    farmgate("devices", "grant", code, lot["code"], "1000", "--another", "2")
    farmgate("devices", "return", code, lot["code"], "500")
    back = farmgate("devices", "return", code, lot["code"], "500", "--json")

    assert "Nothing was granted again" in granted.stderr
    assert "Nothing was taken back again" in back.stderr
    assert "2,000 0 500 0 1,500" in words(farmgate("devices", "show", code))


def test_amounts_and_quantities_are_shown_for_people() -> None:
    assert (yuan(123_456), yuan(-5)) == ("¥1,234.56", "-¥0.05")
    assert quantities({"g": 1500, "piece": 3}) == "1,500 g, 3 pcs"
    assert quantities({}) == "–"


@pytest.mark.parametrize("name", ["../x", "a/b", "a?b=c", "a#b", "%2e%2e", ""])
def test_an_id_that_is_none_leads_to_no_other_address(
    farmgate: Callable[..., Result], name: str
) -> None:
    farmgate("devices", "settle", name, "lose", "--reason", "x", code=2)
    farmgate("devices", "acknowledge", name, "--note", "x", code=2)
    farmgate("parked", "show", name, code=2)
    farmgate("trace", name, code=1)
    shown = farmgate("devices", "show", name, code=1)

    assert "There is no device" in shown.output


def test_what_cannot_be_sent_is_refused_and_the_token_is_not_shown(
    farmgate: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    no_text = farmgate("cash", "custody", "--clerk", "\udcff", code=1)
    monkeypatch.setenv("FARMGATE_TOKEN", "very-secret\nX: y")
    no_token = farmgate("cash", "custody", code=1)

    assert "invalid characters" in " ".join(no_text.output.split())
    assert "FARMGATE_TOKEN" in no_token.output
    assert "very-secret" not in no_token.output
