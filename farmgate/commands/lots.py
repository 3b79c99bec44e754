"""`farmgate lots`: the orders, sales and devices that have goods of a lot."""

import os
from typing import Any

import click
from rich.table import Table

from farmgate.client import Client, connect
from farmgate.console import echo, painted, show_json, show_table
from farmgate.failures import Failed, Refused
from farmgate.groups import Group
from farmgate.stations import find_lot, moment, site_codes

#: The template that warns a buyer who has the goods.
WARNING = "goods_recalled"
#: States of a shipment whose buyer has the goods.
WITH_BUYER = ("delivered", "collected")


@click.group("lots", cls=Group)
def command() -> None:
    """Lots: the orders, parcels, sales and devices that have goods of one."""


@command.command("concerned")
@click.argument("lot_code")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def concerned(lot_code: str, as_json: bool) -> None:
    """List the orders, parcels, buyers, counter sales and devices that have goods of a lot.

    Use it when a lot is held or recalled. Catalog's ledger gives the orders and the counter sales,
    logistics the parcels, orders the buyers, and notifications the warnings sent. Buyers at a
    counter are unknown: call the station.
    """
    client = connect(os.environ)
    lot = find_lot(client, lot_code)
    if lot is None:
        raise Failed(f"There is no lot {lot_code}.")
    found = gather(client, lot)
    if as_json:
        show_json(found)
    else:
        _show(client, found)


def gather(client: Client, lot: dict[str, Any]) -> dict[str, Any]:
    """Return the lot, and the `orders`, `station_sales` and `devices` that have goods of it."""
    lot_id = lot["lot_id"]
    parcels = {
        each["order_id"]: each for each in client.pages("logistics", "/shipments", lot_id=lot_id)
    }
    return {
        "lot": lot,
        "orders": [
            _order(client, each, parcels.get(each["order_id"]))
            for each in client.pages("catalog", f"/lots/{lot_id}/orders")
        ],
        "station_sales": list(client.pages("catalog", f"/lots/{lot_id}/station-sales")),
        "devices": client.get("catalog", f"/lots/{lot_id}/devices")["items"],
    }


def _order(client: Client, of_lot: dict[str, Any], parcel: dict[str, Any] | None) -> dict[str, Any]:
    """Return an order's quantity of a lot, with its buyer, its parcel and the warning sent."""
    order_id = of_lot["order_id"]
    try:
        order = client.get("orders", f"/orders/{order_id}")
    except Refused as refused:
        if refused.status != 404:
            raise
        order = {}  # Orders lost it by a restore; catalog still knows where the goods went.
    shown = ("order_ref", "state", "payment_state", "reason", "buyer_id", "masked_phone")
    carried = ("shipment_id", "shipment_ref", "state", "site_id", "at_site_id")
    warnings = []
    if parcel is not None and parcel["state"] in WITH_BUYER:
        warnings = [
            message["status"]
            for message in client.pages("notifications", "/messages", order_id=order_id)
            if message["template"] == WARNING
        ]
    return {
        **of_lot,
        "order": {name: order.get(name) for name in shown},
        "shipment": parcel and {name: parcel[name] for name in carried},
        "warning": warnings[0] if warnings else None,
    }


def _show(client: Client, found: dict[str, Any]) -> None:
    lot, sites = found["lot"], site_codes(client)
    why = f": {lot['status_reason']}" if lot["status_reason"] else ""
    echo("Lot ", (lot["code"], "bold"), f" is {lot['status']}{why}")
    if found["orders"]:
        show_table(_orders(found["orders"], sites))
    if found["station_sales"]:
        show_table(_sales(found["station_sales"], found["devices"], sites))
    if found["devices"]:
        show_table(_devices(found["devices"], sites))
    if not (found["orders"] or found["station_sales"] or found["devices"]):
        echo("No order, sale or device has goods of it.")


def _orders(orders: list[dict[str, Any]], sites: dict[str, str]) -> Table:
    table = Table(title="Orders (grams or pieces)", title_justify="left", padding=0)
    for title in ("order", "state", "buyer", "phone", "goods", "parcel", "at", "warned"):
        table.add_column(title, overflow="fold")
    for each in orders:
        order, parcel = each["order"], each["shipment"]
        has_goods = parcel is not None and parcel["state"] in WITH_BUYER
        unwarned = painted(("no", "red")) if has_goods else "–"
        table.add_row(
            order["order_ref"] or each["order_id"],
            order["state"] or "unknown",
            order["buyer_id"] or "guest",
            order["masked_phone"] or "–",
            _goods(each),
            parcel["state"] if parcel else "–",
            sites.get(parcel["at_site_id"], "–") if parcel else "–",
            each["warning"] or unwarned,
        )
    return table


def _goods(of_lot: dict[str, Any]) -> str:
    if of_lot["handed_out"]:
        return f"{of_lot['handed_out']:,} left"
    return f"{of_lot['set_aside']:,} set aside" if of_lot["set_aside"] else "none any more"


def _sales(
    sales: list[dict[str, Any]], devices: list[dict[str, Any]], sites: dict[str, str]
) -> Table:
    codes = {device["device_id"]: device["device_code"] for device in devices}
    table = Table(title="Over counters (grams or pieces)", title_justify="left", padding=0)
    for title in ("site", "device", "kind", "status"):
        table.add_column(title)
    for title in ("epoch", "number", "quantity"):
        table.add_column(title, justify="right")
    for sale in sales:
        table.add_row(
            sites.get(sale["site_id"], sale["site_id"]),
            codes.get(sale["device_id"], sale["device_id"]),
            sale["kind"],
            sale["status"],
            str(sale["epoch"]),
            str(sale["number"]),
            f"{sale['quantity']:,}",
        )
    return table


def _devices(devices: list[dict[str, Any]], sites: dict[str, str]) -> Table:
    table = Table(title="Devices that hold it", title_justify="left", padding=0)
    for title in ("site", "device"):
        table.add_column(title, no_wrap=True)
    table.add_column("remaining", justify="right")
    for title in ("allotment", "has heard", "last contact"):
        table.add_column(title)
    for holder in devices:
        table.add_row(
            sites.get(holder["site_id"], holder["site_id"]),
            f"{holder['device_code']} epoch {holder['epoch']}",
            f"{holder['remaining']:,}",
            holder["status"] + (f", {holder['reason']}" if holder["reason"] else ""),
            "yes" if holder["heard"] else painted(("no", "red")),
            moment(holder["last_contact_at"]),
        )
    return table
