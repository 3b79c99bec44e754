"""`farmgate verify` on a running system: it agrees while orders go on, and names what is wrong."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from demo.offline.device import Till
from demo.offline.link import Line
from shared.runtime.config import Settings
from tests.support.processes import Processes
from tests.support.servers import wait_until
from tests.support.systems import DISTRIBUTED_FIRST

CLERK = "Dolma"


def run(system: Processes, *arguments: str) -> Any:
    done = system.command(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def verify(system: Processes, *arguments: str, code: int = 0) -> dict[str, Any]:
    done = system.command("verify", "--json", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def change(system: Processes, service: str, statement: str, **values: Any) -> Any:
    """Change rows behind a service's back; returns the first row it tells of."""
    settings = Settings.from_environment(service, system.environment)
    engine = create_engine(settings.database_url)
    try:
        with engine.begin() as connection:
            return connection.execute(text(statement), values).first()
    finally:
        engine.dispose()


def a_till(system: Processes) -> Till:
    """A till of the sample's Bahe that may sell honey, enrolled and known everywhere."""
    device = run(system, "devices", "replace", "540421103-1", "--json")
    till = Till(Line(system.urls))
    till.enrol(device["enrolment_code"])
    run(system, "devices", "grant", till.store.device_code, "HONEY-1", "6", "--packs", "--json")

    def is_known() -> bool:
        try:
            till.ask_attention()
        except Exception as error:
            assert "401" in str(error), error
            return False
        return True

    wait_until(is_known, 30, "orders knows the till's key")
    till.contact()
    return till


def sell_and_take_back(till: Till) -> None:
    """A day at the counter: sales, a void before sending and one after, a return, a count."""
    till.open_shift(10_000, CLERK)
    offer = till.on_offer()
    # Standing rules may have granted smaller things besides.
    allotment_id = max(offer, key=lambda each: offer[each])
    first = till.sell([(allotment_id, 500)], "cash", CLERK)
    second = till.sell([(allotment_id, 300)], "mobile", CLERK)
    till.void(till.sell([(allotment_id, 200)], "cash", CLERK), CLERK, "wrong pack")
    till.upload()
    till.void(second, CLERK, "paid twice")
    till.take_back(first, {1: 100}, False, CLERK, "leaked")
    till.sell([(allotment_id, 250)], "cash", CLERK)
    till.close_shift(20_000, CLERK)
    till.upload()


@pytest.mark.parametrize("setup", DISTRIBUTED_FIRST)
def test_verify_agrees_beside_running_orders_and_names_what_was_tampered_with(
    start_with_sample: Callable[[str], Processes], setup: str
) -> None:
    """Slow: eight processes, orders, and verify after each tampering."""
    system = start_with_sample(setup)
    # Its balances never settle, because the till sells too; verify is who compares here.
    with system.begin("demo", "--orders", "60", "--patience", "1", "--json") as demo:
        sell_and_take_back(a_till(system))
        beside = verify(system)
        done = demo.end()
    after = verify(system)

    # Its balance of stock counts on nobody else selling, and the till did.
    assert json.loads(done.stdout)["troubles"] == []
    assert beside["agrees"]
    assert after["agrees"]
    assert after["checked"]["orders: orders"] == 60
    assert after["checked"]["catalog: station sales"] == 5

    carried = change(
        system,
        "logistics",
        "DELETE FROM shipment_lines WHERE shipment_id = (SELECT shipment_id FROM shipment_lines "
        "ORDER BY shipment_id LIMIT 1) RETURNING shipment_id",
    )
    cash = change(
        system,
        "orders",
        "DELETE FROM cash_entries WHERE id = (SELECT id FROM cash_entries WHERE cause = 'sale' "
        "ORDER BY id LIMIT 1) RETURNING entry_id",
    )
    allotment = change(
        system,
        "catalog",
        "UPDATE allotments SET sold = sold + 1, remaining = remaining - 1 RETURNING id",
    )
    found = verify(system, "--patience", "1", code=1)

    named = {(each["service"], each["check"]): each["ids"] for each in found["differences"]}
    assert named["logistics", "shipment_lines"]["shipment_id"] == uuid_of(carried)
    assert named["", "shipment_lots"] == {
        "order_id": named["logistics", "shipment_lines"]["order_id"],
        "lot_ids": named["", "shipment_lots"]["lot_ids"],
    }
    assert named["orders", "cash_entry"] == {"sale_id": uuid_of(cash)}
    assert ("orders", "custody") in named
    assert uuid_of(allotment) in {each["ids"].get("allotment_id") for each in found["differences"]}


def uuid_of(row: Any) -> str:
    """An id as the services write it: SQLite keeps it without dashes."""
    digits = str(row[0]).replace("-", "")
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
