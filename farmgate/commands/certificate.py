"""`farmgate certificate`: what the gateway shows over TLS."""

import os
from pathlib import Path

import click

from farmgate import certificates
from farmgate.parameters import WholeNumber
from farmgate.printing import say

FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("certificate")
@click.argument("gateway", type=FOLDER)
@click.argument("authority", type=FOLDER)
@click.option(
    "--names",
    default="localhost,127.0.0.1",
    show_default=True,
    help="Names and addresses by which the gateway is called, with commas between.",
)
@click.option(
    "--port",
    type=WholeNumber(0, 65_535),
    default=8443,
    show_default=True,
    help="Where clients find it.",
)
@click.option("--owner", type=WholeNumber(0), metavar="UID", help="Who may read the key.")
@click.option(
    "--given", type=(FILE, FILE), metavar="CERTIFICATE KEY", help="Use these two files (PEM)."
)
def command(
    gateway: Path,
    authority: Path,
    names: str,
    port: int,
    owner: int | None,
    given: tuple[Path, Path] | None,
) -> None:
    """Make sure that folder GATEWAY has a certificate and its key, and say until when.

    Without --given one is made that an authority in folder AUTHORITY signs, a month before the
    last one ends or when the names change. A certificate that was given stays.
    """
    called = [name.strip() for name in names.split(",") if name.strip()]
    if not called:
        raise click.BadParameter("give at least one name", param_hint="--names")
    until = (
        certificates.install(gateway, *given)
        if given
        else certificates.ensure(gateway, authority, called)
    )
    (gateway / "port.conf").write_text(_redirect(certificates.names(gateway, called), port))
    if owner is not None:
        for path in (gateway, *gateway.iterdir()):
            os.chown(path, owner, owner)
    say(f"The gateway's certificate is good until {until:%Y-%m-%d}.")
    if (gateway / certificates.AUTHORITY).exists():
        say("Its authority, for tills to trust: GET /ca.crt at the gateway's HTTP port.")


def _redirect(names: list[str], port: int) -> str:
    """Return where HTTP sends clients: to a name of the certificate, whatever they call us."""
    written = [f"[{name}]" if ":" in name else name for name in names]
    # A certificate for `*.example.org` alone has no other name to offer.
    first = next((name for name in written if "*" not in name), written[0].removeprefix("*."))
    own = "".join(f' "{name}" $host;' for name in written)
    # The usual port needs no mention.
    shown = "" if port == 443 else f":{port}"
    return (
        f'map "" $tls_port {{ default "{shown}"; }}\n'
        f'map $host $tls_host {{ hostnames; default "{first}";{own} }}\n'
    )
