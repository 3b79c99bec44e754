"""Allotments of devices: grant, return, count, suspend, resume; and standing rules."""

import os
from typing import Any

import click
from rich.table import Table

from farmgate.client import Client, connect
from farmgate.console import echo, echo_json, err, show_json, show_table
from farmgate.failures import Failed
from farmgate.parameters import ANOTHER, WholeNumber
from farmgate.stations import (
    Variant,
    find_device,
    find_lot,
    find_site,
    find_variant,
    quantities,
    site_codes,
    variants,
)

#: Why a repeated command did nothing.
WAS_DONE = "The same was done within the last 24 hours. To do it a second time: --another TEXT"

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


@click.command("grant")
@click.argument("code")
@click.argument("sku_or_lot")
@click.argument("quantity", type=WholeNumber(1))
@click.option("--packs", is_flag=True, help="QUANTITY counts packs, not grams or pieces.")
@ANOTHER
@AS_JSON
def grant(
    code: str, sku_or_lot: str, quantity: int, packs: bool, another: str | None, as_json: bool
) -> None:
    """Allot QUANTITY (grams or pieces) of a lot, or of any lots of a SKU, to the device CODE.

    The goods come from the free stock of the device's site, else of the centre, and only this
    device can sell them from now on. Of a SKU, lots that expire first are allotted first. Either
    the whole quantity is granted or nothing.
    """
    client = connect(os.environ)
    device = find_device(client, code)
    lot = find_lot(client, sku_or_lot)
    body: dict[str, Any] = {"device_id": device["device_id"]}
    if lot is not None:
        body["lot_id"] = lot["lot_id"]
        variant = variants(client)[lot["variant_id"]]
    else:
        variant = _variant_or_lot(client, sku_or_lot)
        body["variant_id"] = variant.variant_id
    body["quantity"] = quantity * variant.pack_quantity if packs else quantity
    answer, was_done = client.post_once("catalog", "/allotments", body, another)
    granted = answer["items"]
    if was_done:
        echo(f"Nothing was granted again. {WAS_DONE}", console=err)
    if as_json:
        echo_json(granted)
        return
    for allotment in granted:
        echo(
            f"{code} may sell {quantities({variant.unit: allotment['remaining']})} of lot "
            f"{allotment['lot_code']} ({variant.sku}). It gets this with its next request."
        )


def _variant_or_lot(client: Client, sku_or_lot: str) -> Variant:
    try:
        return find_variant(client, sku_or_lot)
    except Failed as error:
        raise Failed(f"{sku_or_lot} is neither a lot's code nor a SKU.") from error


@click.command("return")
@click.argument("code")
@click.argument("lot_code")
@click.argument("quantity", type=WholeNumber(1))
@click.option("--to", "site_code", help="Site of the goods now; the device's site by default.")
@ANOTHER
@AS_JSON
def take_back(
    code: str,
    lot_code: str,
    quantity: int,
    site_code: str | None,
    another: str | None,
    as_json: bool,
) -> None:
    """Record that QUANTITY of a lot came back from the device CODE and was counted."""
    client = connect(os.environ)
    body: dict[str, Any] = {"quantity": quantity}
    if site_code is not None:
        body["to_location_id"] = find_site(client, site_code)["location_id"]
    allotment = _allotment(client, code, lot_code, None)
    path = f"/allotments/{allotment['allotment_id']}/return"
    now, was_done = client.post_once("catalog", path, body, another)
    if was_done:
        echo(f"Nothing was taken back again. {WAS_DONE}", console=err)
    _say_allotment(code, lot_code, now, as_json)


@click.command("count")
@click.argument("code")
@click.argument("lot_code")
@click.argument("counted", type=WholeNumber(0))
@click.option("--reason", required=True, help="Why it was counted, and where the rest went.")
@click.option(
    "--epoch", type=WholeNumber(1), help="Epoch of a replaced machine; the present one by default."
)
@click.option(
    "--book",
    type=WholeNumber(0),
    help="The remaining quantity that the count was compared with; refused if it changed since.",
)
@AS_JSON
def count(
    code: str,
    lot_code: str,
    counted: int,
    reason: str,
    epoch: int | None,
    book: int | None,
    as_json: bool,
) -> None:
    """End an allotment by a count: COUNTED (grams or pieces) exist, the rest is written off.

    Use it for a device that was lost, broken or replaced. The counted goods become free stock.
    Sales that are uploaded later will be disputed, so count last.
    """
    client = connect(os.environ)
    body: dict[str, Any] = {"counted": counted, "reason": reason}
    if book is not None:
        body["book"] = book
    _act(client, code, lot_code, "write-off", body, as_json, epoch)


@click.command("suspend")
@click.argument("code")
@click.argument("lot_code")
@click.option("--reason", required=True, help="Why, in a few words.")
@AS_JSON
def suspend(code: str, lot_code: str, reason: str, as_json: bool) -> None:
    """Suspend the device CODE's allotment of a lot; it stops selling at its next request."""
    _act(connect(os.environ), code, lot_code, "suspend", {"reason": reason}, as_json)


@click.command("resume")
@click.argument("code")
@click.argument("lot_code")
@AS_JSON
def resume(code: str, lot_code: str, as_json: bool) -> None:
    """Resume the device CODE's suspended allotment of a lot."""
    _act(connect(os.environ), code, lot_code, "resume", {}, as_json)


def _act(
    client: Client,
    code: str,
    lot_code: str,
    action: str,
    body: dict[str, Any],
    as_json: bool,
    epoch: int | None = None,
) -> None:
    allotment = _allotment(client, code, lot_code, epoch)
    path = f"/allotments/{allotment['allotment_id']}/{action}"
    _say_allotment(code, lot_code, client.post("catalog", path, body), as_json)


def _say_allotment(code: str, lot_code: str, now: dict[str, Any], as_json: bool) -> None:
    if as_json:
        echo_json(now)
        return
    echo(
        f"{code}, lot {lot_code}: {now['status']}, {now['remaining']:,} remaining of "
        f"{now['granted']:,} granted ({now['sold']:,} sold, {now['returned']:,} returned, "
        f"{now['written_off']:,} written off)."
    )


def _allotment(client: Client, code: str, lot_code: str, epoch: int | None) -> dict[str, Any]:
    device = find_device(client, code)
    found = [
        allotment
        for allotment in client.pages("catalog", "/allotments", device_id=device["device_id"])
        if allotment["lot_code"] == lot_code
        and allotment["epoch"] == (device["epoch"] if epoch is None else epoch)
    ]
    if not found:
        raise Failed(
            f"{code} has no allotment of lot {lot_code}"
            + (f" in epoch {epoch}" if epoch is not None else "")
            + f". See what it has: farmgate devices show {code}"
        )
    return dict(found[-1])


@click.command("rule")
@click.argument("site_code")
@click.argument("sku")
@click.argument("packs", type=WholeNumber(0))
def rule(site_code: str, sku: str, packs: int) -> None:
    """Keep PACKS packs of a SKU at a site's device while the centre has stock; 0 ends the rule.

    Of perishable goods, only as much is granted as can be sold before it expires.
    """
    client = connect(os.environ)
    site, variant = find_site(client, site_code), find_variant(client, sku)
    path = f"/standing-rules/{site['location_id']}/{variant.variant_id}"
    if packs == 0:
        client.call("DELETE", "catalog", path)
        echo(f"The rule for {sku} at {site_code} is deleted; existing allotments stay.")
        return
    keep = packs * variant.pack_quantity
    client.put("catalog", path, {"keep": keep})
    echo(f"{quantities({variant.unit: keep})} ({packs} packs) of {sku} are kept at {site_code}.")


@click.command("rules")
@AS_JSON
def list_rules(as_json: bool) -> None:
    """List the standing rules: the quantity of each SKU kept at each site."""
    client = connect(os.environ)
    rules = list(client.pages("catalog", "/standing-rules"))
    if as_json:
        show_json(rules)
        return
    sites, by_id = site_codes(client), variants(client)
    table = Table(title="Kept at sites while the centre has stock", title_justify="left")
    table.add_column("site")
    table.add_column("goods")
    table.add_column("packs", justify="right")
    table.add_column("keep", justify="right")
    rows = [
        (sites.get(each["site_id"], "?"), by_id[each["variant_id"]], each["keep"]) for each in rules
    ]
    for site, variant, keep in sorted(rows, key=lambda row: (row[0], row[1].sku)):
        packs = f"{keep / variant.pack_quantity:g}"
        table.add_row(site, variant.sku, packs, quantities({variant.unit: keep}))
    show_table(table)
