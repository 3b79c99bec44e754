"""The stock before and after the demo, and the stock that the orders' outcomes imply."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from demo.living import Lived
from demo.stories import Goods
from farmgate.client import Client

#: The quantities of each variant in catalog's summary that the demo compares.
ACCOUNTS = ("on_hand", "available", "reserved", "committed")


@dataclass(frozen=True)
class Stock:
    """One variant's stock at one moment, from catalog's summary."""

    sku: str
    accounts: Mapping[str, int]
    #: Whether catalog's ledger agrees with its balances.
    balanced: bool


def read_stock(client: Client) -> dict[str, Stock]:
    """Return the stock of each variant, by its id."""
    summary = client.get("catalog", "/stock/summary")
    return {
        entry["variant_id"]: Stock(
            entry["sku"], {name: entry[name] for name in ACCOUNTS}, entry["balanced"]
        )
        for entry in summary["items"]
    }


def expected_changes(lives: Iterable[Lived]) -> dict[str, Counter[str]]:
    """Return by how much each account must change, by variant id; other accounts do not change."""
    changes: dict[str, Counter[str]] = {}
    for lived in lives:
        for variant_id, quantity in lived.planned.quantities.items():
            change = changes.setdefault(variant_id, Counter())
            match lived.left:
                case Goods.RESERVED | Goods.COMMITTED as account:
                    change[account] += quantity
                    change["available"] -= quantity
                case Goods.GONE:
                    change["on_hand"] -= quantity
                    change["available"] -= quantity
                case Goods.FREE:
                    pass
    return changes


def differences(
    before: Mapping[str, Stock], after: Mapping[str, Stock], lives: Iterable[Lived]
) -> list[str]:
    """Return what does not balance, one sentence each."""
    wrong = []
    changes = expected_changes(lives)
    for variant_id, stock in after.items():
        if not stock.balanced:
            wrong.append(f"{stock.sku}: catalog's ledger and balances disagree")
        earlier = before[variant_id].accounts if variant_id in before else Counter[str]()
        for account in ACCOUNTS:
            want = earlier.get(account, 0) + changes.get(variant_id, Counter())[account]
            if stock.accounts[account] != want:
                wrong.append(
                    f"{stock.sku}: {account} is {stock.accounts[account]}, but by the orders it "
                    f"must be {want}"
                )
    return wrong


def by_product(stocks: Mapping[str, Stock]) -> dict[str, Counter[str]]:
    """Return the accounts summed over the grades of each product."""
    totals: dict[str, Counter[str]] = {}
    for stock in sorted(stocks.values(), key=lambda stock: stock.sku):
        total = totals.setdefault(stock.sku.rpartition("-")[0], Counter())
        total.update(stock.accounts)
    return totals


def as_json(before: Mapping[str, Stock], after: Mapping[str, Stock]) -> dict[str, Any]:
    """Return the stock before and after by SKU."""
    return {
        after[variant_id].sku: {
            "before": dict(before[variant_id].accounts) if variant_id in before else None,
            "after": dict(after[variant_id].accounts),
            "balanced": after[variant_id].balanced,
        }
        for variant_id in sorted(after, key=lambda each: after[each].sku)
    }
