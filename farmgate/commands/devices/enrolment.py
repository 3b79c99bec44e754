"""Devices come, are replaced, and go."""

import os
from pathlib import Path
from typing import Any

import click

from farmgate import run_file
from farmgate.client import DEFAULT_URL, connect
from farmgate.console import ask, say, say_json
from farmgate.stations import find_device, find_site, moment
from shared.runtime.addresses import check_http
from shared.runtime.config import read


@click.command("add")
@click.argument("site_code")
@click.option("--name", default=None, help="Which counter it is; its number at the site else.")
@click.option("--json", "as_json", is_flag=True, help="Print the device and its code as JSON.")
def add(site_code: str, name: str | None, as_json: bool) -> None:
    """Add a device at SITE_CODE and print its one-time code.

    The code is shown once, is good for a day, and enrols one device.
    """
    client = connect(os.environ)
    site = find_site(client, site_code)
    body = {"site_id": site["location_id"], "name": name or f"Till at {site_code}"}
    _show_code(client.post("catalog", "/devices", body), as_json)


@click.command("replace")
@click.argument("code")
@click.option("--json", "as_json", is_flag=True, help="Print the device and its code as JSON.")
def replace(code: str, as_json: bool) -> None:
    """Print a new one-time code for the device CODE: another machine takes its place.

    From the moment the code is used the old machine sells no more: it may only upload what it
    had sold before. What it still holds stays frozen until it gives it back or you count it
    (farmgate devices count).
    """
    client = connect(os.environ)
    device = find_device(client, code)
    answer = client.post("catalog", f"/devices/{device['device_id']}/enrolment")
    _show_code(dict(device) | dict(answer), as_json)


@click.command("revoke")
@click.argument("code")
@click.option("--reason", help="Why, in a few words; it is kept.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print the device as JSON.")
def revoke(code: str, reason: str | None, yes: bool, as_json: bool) -> None:
    """Let the device CODE neither sell nor upload any more: it was lost or stolen.

    What it holds is frozen until you count it (farmgate devices count). Sales that it kept can
    still be brought in from its exported file (farmgate devices import).
    """
    client = connect(os.environ)
    device = find_device(client, code)
    if not yes:
        ask(f"Revoke {code} ({device['name']})? It cannot upload afterwards", abort=True)
    path = f"/devices/{device['device_id']}/revoke"
    revoked = client.post("catalog", path, {"reason": reason})
    if as_json:
        say_json(revoked)
        return
    say(f"{code} is revoked. See what it holds: farmgate devices show {code}")


def _show_code(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        say_json(answer | {"till": _page()})
        return
    say(f"Device {answer['code']}, enrolment code {answer['enrolment_code']}")
    say(
        f"On the device, open {_page()} and type the code; it is good until "
        f"{moment(answer['enrolment_expires_at'])} (Asia/Shanghai) and for one device."
    )
    say(f"Then give it goods to sell: farmgate devices grant {answer['code']} SKU QUANTITY")


def _page() -> str:
    """Return where the till's page is, as far as this machine knows."""
    running = run_file.read(Path(read(os.environ, "FARMGATE_DATA", "var")))
    url = running.url if running else read(os.environ, "FARMGATE_URL", DEFAULT_URL)
    return f"{check_http('FARMGATE_URL', url)}/till"
