"""Show the devices: last contact, allotments, journals and problems."""

import os
from collections import defaultdict
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from farmgate.client import Client, connect
from farmgate.console import Part, echo, painted, show_json, show_table
from farmgate.failures import Failed
from farmgate.stations import Variant, find_device, find_lot, moment, quantities, variants

#: With a larger offset, the list marks a device's clock; orders flags its entries.
CLOCK_OFF_SECONDS = 3600
#: States of allotments that may have goods left; ended ones accumulate over the years.
OPEN = ("granted", "active", "suspended", "returning")


@click.command("list")
@click.option("--site", "site_code", help="Only devices of this site.")
@click.option("--json", "as_json", is_flag=True, help="Print the devices as JSON.")
def list_devices(site_code: str | None, as_json: bool) -> None:
    """List the devices: last contact, unsynced entries, lease, remaining goods, disputes.

    `not heard` counts allotments that changed since the device's last request: it may still sell
    from a suspended lot.
    """
    client = connect(os.environ)
    devices = [
        device
        for device in client.pages("catalog", "/devices")
        if site_code in (None, device["site_code"])
    ]
    devices.sort(key=lambda device: str(device["code"]))
    journals = _journals(client)
    if as_json:
        rows = [device | {"journals": journals[device["device_id"]]} for device in devices]
        show_json(rows)
        return
    if not devices:
        where = site_code or "SITE_CODE"
        echo(f"There is no device yet. Add one: farmgate devices add {where}")
        return
    left = _left(client)
    table = Table(title="Devices (times in Asia/Shanghai)", title_justify="left", padding=0)
    for title in ("site", "device", "status"):
        table.add_column(title, no_wrap=True)
    table.add_column("epoch", justify="right")
    table.add_column("last contact", no_wrap=True)
    table.add_column("unsynced", justify="right")
    table.add_column("lease until")
    for title in ("remaining", "disputed", "not heard"):
        table.add_column(title, justify="right")
    for device in devices:
        table.add_row(
            device["site_code"],
            f"{device['code']}",
            _status(device["status"]),
            str(device["epoch"]),
            _contact(device),
            _unsynced(device),
            _lease(device),
            quantities(left[device["device_id"]]),
            _wrong(sum(journal["disputed"] for journal in journals[device["device_id"]])),
            _wrong(len(device["unheard"])),
        )
    show_table(table)


@click.command("holding")
@click.argument("lot_code")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def holding(lot_code: str, as_json: bool) -> None:
    """List the devices that hold a lot, and whether each got its last change.

    After a hold or a recall, a device without the change may still sell the lot: call the station.
    """
    client = connect(os.environ)
    lot = find_lot(client, lot_code)
    if lot is None:
        raise Failed(f"There is no lot {lot_code}.")
    holders = client.get("catalog", f"/lots/{lot['lot_id']}/devices")["items"]
    if as_json:
        show_json(holders)
        return
    if not holders:
        echo(f"No device holds lot {lot_code}, which is {lot['status']}.")
        return
    table = Table(title=f"Lot {lot_code} is {lot['status']}", title_justify="left")
    table.add_column("device", no_wrap=True)
    table.add_column("remaining", justify="right")
    for title in ("allotment", "has heard", "last contact"):
        table.add_column(title)
    for holder in holders:
        table.add_row(
            f"{holder['device_code']} epoch {holder['epoch']}",
            f"{holder['remaining']:,}",
            holder["status"] + (f", {holder['reason']}" if holder["reason"] else ""),
            "yes" if holder["heard"] else painted(("no", "red")),
            moment(holder["last_contact_at"]),
        )
    show_table(table)


@click.command("show")
@click.argument("code")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def show(code: str, as_json: bool) -> None:
    """Show the device CODE: its state, its allotments lot by lot, and its journals."""
    client = connect(os.environ)
    device_id = find_device(client, code)["device_id"]
    device = client.get("catalog", f"/devices/{device_id}")
    journals = _journals(client)[device_id]
    if as_json:
        show_json(device | {"journals": journals})
        return
    echo((device["code"], "bold"), f" {device['name']}")
    for label, text in (
        ("site", device["site_code"]),
        ("status", f"{device['status']}, epoch {device['epoch']}"),
        ("last contact", moment(device["last_contact_at"])),
        ("lease", _lease(device)),
        ("not uploaded", _unsynced_since(device)),
        ("till version", device["app_version"] or "unknown"),
        ("clock", _clock(device["clock_offset_seconds"])),
    ):
        echo(f"  {label}: ", text)
    show_table(_allotments(device, variants(client)))
    for journal in journals:
        _show_journal(journal)


def _journals(client: Client) -> defaultdict[str, list[dict[str, Any]]]:
    """Return each device's journals in orders, one per epoch."""
    journals: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for journal in client.pages("orders", "/till/devices"):
        journals[journal["device_id"]].append(dict(journal))
    return journals


def _left(client: Client) -> defaultdict[str, defaultdict[str, int]]:
    """Return each device's remaining quantities, by unit."""
    left: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    by_id = variants(client)
    for status in OPEN:
        for allotment in client.pages("catalog", "/allotments", status=status):
            unit = by_id[allotment["variant_id"]].unit
            left[allotment["device_id"]][unit] += allotment["remaining"]
    return left


def _status(status: str) -> Text:
    colour = {"active": "green", "new": "yellow", "revoked": "red"}.get(status, "white")
    return painted((status, colour))


def _wrong(count: int) -> Text:
    return painted((str(count), "red" if count else ""))


def _unsynced(device: dict[str, Any]) -> str:
    return "–" if device["unsynced"] is None else str(device["unsynced"])


def _unsynced_since(device: dict[str, Any]) -> str:
    if not device["unsynced"]:
        return "nothing at its last request" if device["unsynced"] == 0 else "unknown"
    since = device["oldest_unsynced_at"]
    return f"{device['unsynced']} entries" + (f", the oldest of {moment(since)}" if since else "")


def _lease(device: dict[str, Any]) -> Text:
    if device["lease_until"] is None:
        return painted("–")
    return painted(moment(device["lease_until"]), (" over" if device["lease_over"] else "", "red"))


def _contact(device: dict[str, Any]) -> Text:
    off = abs(device["clock_offset_seconds"] or 0) > CLOCK_OFF_SECONDS
    return painted(moment(device["last_contact_at"]), (" clock off" if off else "", "yellow"))


def _clock(seconds: int | None) -> Text:
    if seconds is None:
        return painted("unknown")
    if abs(seconds) < 60:
        return painted("right")
    return painted((f"{abs(seconds)} s {'ahead' if seconds > 0 else 'behind'}", "yellow"))


def _allotments(device: dict[str, Any], by_id: dict[str, Variant]) -> Table:
    table = Table(title="Allotments (grams or pieces)", title_justify="left", padding=0)
    table.add_column("lot", no_wrap=True)
    table.add_column("goods", no_wrap=True)
    table.add_column("epoch", justify="right")
    for title in ("granted", "sold", "returned", "written off", "remaining"):
        table.add_column(title, justify="right")
    table.add_column("status")
    for allotment in device["allotments"]:
        status: list[Part] = [allotment["status"]]
        if allotment["reason"]:
            status.append(f", {allotment['reason']}")
        if not allotment["heard"]:
            status += [", ", ("not heard", "red")]
        if allotment["proposed_return"]:
            back = f"{allotment['proposed_return']:,} to return"
            status += [", ", (back, "yellow")]
        variant = by_id.get(allotment["variant_id"])
        table.add_row(
            allotment["lot_code"],
            variant.sku if variant else "?",
            str(allotment["epoch"]),
            *(
                f"{allotment[name]:,}"
                for name in ("granted", "sold", "returned", "written_off", "remaining")
            ),
            painted(*status),
        )
    return table


def _show_journal(journal: dict[str, Any]) -> None:
    parts: list[Part] = [f"{journal['entries']} entries up to number {journal['highest']}, "]
    if journal["holes"]:
        parts += [(f"{journal['holes']} missing: not uploaded yet", "yellow"), ", "]
    if journal["disputed"]:
        parts += [(f"{journal['disputed']} disputed", "red"), " (farmgate devices disputes), "]
    parts.append(f"last upload {moment(journal['last_upload_at'])}")
    echo(f"Journal of epoch {journal['epoch']}: ", *parts)
