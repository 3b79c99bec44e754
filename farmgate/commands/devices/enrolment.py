"""Add, replace and revoke devices."""

import os
from pathlib import Path
from typing import Any

import click

from farmgate import run_file
from farmgate.client import DEFAULT_URL, connect
from farmgate.console import confirm, echo, echo_json
from farmgate.stations import find_device, find_site, moment
from shared.runtime.addresses import check_http
from shared.runtime.config import read


@click.command("add")
@click.argument("site_code")
@click.option("--name", default=None, help="The counter's name; `Till at SITE_CODE` by default.")
@click.option("--json", "as_json", is_flag=True, help="Print the device and its code as JSON.")
def add(site_code: str, name: str | None, as_json: bool) -> None:
    """Add a device at SITE_CODE and print its one-time code.

    The code is shown once, is valid for a day, and enrols one device.
    """
    client = connect(os.environ)
    site = find_site(client, site_code)
    body = {"site_id": site["location_id"], "name": name or f"Till at {site_code}"}
    _show_code(client.post("catalog", "/devices", body), as_json)


@click.command("replace")
@click.argument("code")
@click.option("--json", "as_json", is_flag=True, help="Print the device and its code as JSON.")
def replace(code: str, as_json: bool) -> None:
    """Print a new one-time code for another machine that replaces the device CODE.

    Once the code is used, the old machine can sell no more and only upload earlier sales. Its
    allotments stay frozen until it returns the goods or you count them (farmgate devices count).
    """
    client = connect(os.environ)
    device = find_device(client, code)
    answer = client.post("catalog", f"/devices/{device['device_id']}/enrolment")
    _show_code(dict(device) | dict(answer), as_json)


@click.command("revoke")
@click.argument("code")
@click.option("--reason", help="Why, in a few words; it is stored.")
@click.option("--yes", is_flag=True, help="Skip the confirmation.")
@click.option("--json", "as_json", is_flag=True, help="Print the device as JSON.")
def revoke(code: str, reason: str | None, yes: bool, as_json: bool) -> None:
    """Revoke the device CODE, which was lost or stolen: it can neither sell nor upload.

    Its allotments are frozen until you count the goods (farmgate devices count). Sales on the
    device can still be imported from its exported file (farmgate devices import).
    """
    client = connect(os.environ)
    device = find_device(client, code)
    if not yes:
        confirm(f"Revoke {code} ({device['name']})? It cannot upload afterwards", abort=True)
    path = f"/devices/{device['device_id']}/revoke"
    revoked = client.post("catalog", path, {"reason": reason})
    if as_json:
        echo_json(revoked)
        return
    echo(f"{code} is revoked. See its allotments: farmgate devices show {code}")


def _show_code(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        echo_json(answer | {"till": _page()})
        return
    echo(f"Device {answer['code']}, enrolment code {answer['enrolment_code']}")
    echo(
        f"On the device, open {_page()} and type the code; it is valid until "
        f"{moment(answer['enrolment_expires_at'])} (Asia/Shanghai) and for one device."
    )
    echo(f"Then grant it goods to sell: farmgate devices grant {answer['code']} SKU QUANTITY")


def _page() -> str:
    """Return the URL of the till's page, from `farmgate up` or FARMGATE_URL."""
    running = run_file.read(Path(read(os.environ, "FARMGATE_DATA", "var")))
    url = running.url if running else read(os.environ, "FARMGATE_URL", DEFAULT_URL)
    return f"{check_http('FARMGATE_URL', url)}/till"
