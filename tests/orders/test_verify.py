"""Orders compares its own rows while it runs, and says in few words what it holds."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event, text

from shared.events import OverdraftSettled
from shared.runtime.database import Database
from shared.runtime.ids import new_id

Builder = Callable[..., dict[str, Any]]
Place = Callable[..., dict[str, Any]]
Reserve = Callable[[dict[str, Any]], UUID]
Provider = Callable[..., Any]
Deliver = Callable[..., list[UUID]]
Ask = Callable[[str], Any]

pytestmark = pytest.mark.usefixtures("station_price")


@pytest.fixture
def trade(
    till: Any, an_entry: Builder, place: Place, reserve: Reserve, provider: Provider
) -> dict[str, Any]:
    """Let a day pass: an order that is refunded, and sales of which some come back."""
    order = place(payment_method="prepaid")
    reserve(order)
    provider(order, amount_fen=order["total_fen"] - 1)
    till.upload(
        an_entry("shift_open", 1),
        an_entry("sale", 2),
        an_entry("return", 3, of=2),
        an_entry("sale", 4, payment="mobile"),
        an_entry("sale", 5, voided=True),
        an_entry("void", 6, of=5),
    )
    return order


def checks_of(report: dict[str, Any]) -> set[str]:
    """Return which comparisons found something."""
    return {difference["check"] for difference in report["differences"]}


@pytest.mark.usefixtures("trade")
def test_rows_that_agree_make_no_difference(ask: Ask) -> None:
    report = ask("verify")

    assert (report["service"], report["differences"], report["notes"]) == ("orders", [], [])
    assert report["checked"] == {
        "orders": 1,
        "till_entries": 6,
        "journals": 1,
        # Half of a sale, and all of one that was undone before it was sent.
        "taken_back": 2,
        "cash_entries": 2,
        "custodies": 1,
    }


@pytest.mark.usefixtures("trade")
@pytest.mark.parametrize(
    ("tampering", "check"),
    [
        ("UPDATE orders SET total_fen = total_fen + 1", "order_total"),
        ("DELETE FROM order_lines", "order_total"),
        ("UPDATE orders SET refunded_fen = refunded_fen - 1", "order_refunded"),
        ("UPDATE refunds SET amount_fen = amount_fen - 1", "order_refunded"),
        ("UPDATE taken_back SET taken = taken - 1", "taken_back"),
        ("UPDATE taken_back SET sold_fen = sold_fen + 1", "taken_back"),
        ("DELETE FROM taken_back", "taken_back"),
        ("UPDATE till_entries SET taken = NULL", "taken_back"),
        ("UPDATE cash_entries SET amount_fen = 1 WHERE cause = 'sale'", "cash_entry"),
        ("UPDATE cash_entries SET clerk = 'x'", "cash_entry"),
        ("DELETE FROM cash_entries", "cash_entry"),
        ("UPDATE till_entries SET total_fen = 1 WHERE number = 2", "cash_entry"),
        ("UPDATE till_entries SET payment = 'cash'", "cash_entry"),
        ("DELETE FROM cash_entries", "custody"),
        ("DELETE FROM custodies", "custody"),
        ("UPDATE custodies SET collected_fen = 1, held_fen = 1 - refunded_fen", "custody"),
        ("DELETE FROM till_entries WHERE number = 1", "journal"),
        ("UPDATE journals SET highest = highest + 1", "journal"),
        ("DELETE FROM journals", "journal"),
    ],
)
def test_rows_changed_by_hand_are_found(
    ask: Ask, database: Database, tampering: str, check: str
) -> None:
    with database.sessions.begin() as session:
        session.execute(text(tampering))

    report = ask("verify")

    assert check in checks_of(report)
    for difference in report["differences"]:
        assert difference["ids"]
        assert difference["expected"] != difference["found"]


def test_an_open_dispute_is_a_difference_until_it_is_decided(
    till: Any, an_entry: Builder, ask: Ask, deliver: Deliver
) -> None:
    till.upload(an_entry("sale", 1), an_entry("sale", 1, clerk="x"))

    (difference,) = ask("verify")["differences"]

    assert difference["check"] == "station_sale_disputed"
    assert "other_content" in difference["detail"]
    deliver(OverdraftSettled, sale_id=UUID(difference["ids"]["sale_id"]), resolution="covered")
    assert ask("verify")["differences"] == []


def test_what_has_not_come_is_a_note(till: Any, an_entry: Builder, ask: Ask) -> None:
    till.upload(an_entry("void", 20, of=1))

    report = ask("verify")

    assert report["differences"] == []
    assert report["notes"] == [
        "Device T-1, epoch 1: 19 of 20 entries have not come (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, …).",
        "Device T-1, epoch 1: 1 voids or returns wait for entries that have not come.",
    ]


def test_a_fault_that_shows_many_times_is_listed_in_part(
    till: Any, an_entry: Builder, ask: Ask
) -> None:
    till.upload(*(an_entry("sale", number, colour="red") for number in range(1, 251)))

    report = ask("verify")

    assert len(report["differences"]) == 200
    assert report["notes"] == ["50 more of station_sale_disputed are not listed."]


@pytest.mark.usefixtures("trade")
def test_a_system_that_runs_shows_no_differences_that_never_were(
    till: Any, an_entry: Builder, ask: Ask, database: Database, client: Any
) -> None:
    """A sale comes between two statements of the comparison, which sees it nowhere."""
    served = client.application.extensions["farmgate"].database
    came = []

    def let_one_come(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if "FROM custodies" in statement and not came:
            came.append(1)
            came.extend(till.upload(an_entry("sale", 7), an_entry("return", 8, of=7)))

    event.listen(served.read_engine, "before_cursor_execute", let_one_come)
    report = ask("verify")
    event.remove(served.read_engine, "before_cursor_execute", let_one_come)

    assert [answer["status"] for answer in came[1:]] == ["accepted", "accepted"]
    assert (report["differences"], report["checked"]["till_entries"]) == ([], 6)
    assert ask("verify")["checked"]["till_entries"] == 8


# --- Facts ---------------------------------------------------------------------------------------


def test_facts_of_orders_are_their_states_and_lots(
    place: Place, reserve: Reserve, ask: Ask
) -> None:
    orders = [place() for _ in range(3)]
    reserve(orders[1])

    facts = {fact["id"]: fact["value"] for fact in ask("verify/facts?kind=orders")["items"]}

    assert facts[orders[0]["order_id"]] == {"state": "placed", "lots": {}}
    decided = facts[orders[1]["order_id"]]
    assert (decided["state"], list(decided["lots"].values())) == ("confirmed", [1000])


def test_facts_of_sales_are_their_kinds_statuses_and_lots(
    till: Any, an_entry: Builder, ask: Ask, lot_id: UUID
) -> None:
    till.upload(
        an_entry("sale", 1),
        an_entry("return", 2, of=1),
        an_entry("sale", 3, voided=True),
        an_entry("shift_open", 4, shift=4),
        an_entry("void", 6, of=5),
    )

    facts = {fact["id"]: fact["value"] for fact in ask("verify/facts?kind=station_sales")["items"]}

    sold = {"kind": "sale", "status": "accepted", "lots": {str(lot_id): 1000}, "voided": False}
    assert facts == {
        str(till.id_of(1)): sold,
        str(till.id_of(2)): sold | {"kind": "return", "lots": {str(lot_id): 500}},
        str(till.id_of(3)): sold | {"voided": True},
        str(till.id_of(6)): sold | {"kind": "void", "status": "waiting", "lots": {}},
    }


@pytest.mark.parametrize("kind", ["orders", "station_sales"])
def test_facts_come_in_pages_or_by_their_ids(
    till: Any, an_entry: Builder, place: Place, ask: Ask, kind: str
) -> None:
    till.upload(*(an_entry("sale", number) for number in range(1, 6)))
    for _ in range(5):
        place()
    every = ask(f"verify/facts?kind={kind}")["items"]

    first = ask(f"verify/facts?kind={kind}&limit=3")
    second = ask(f"verify/facts?kind={kind}&limit=3&cursor={first['next']}")
    some = ask(f"verify/facts?kind={kind}&id={every[4]['id']}&id={new_id()}")

    assert first["items"] + second["items"] == every
    assert (len(every), second["next"]) == (5, None)
    assert some["items"] == every[4:]
    assert json.dumps(every)
