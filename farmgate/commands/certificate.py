"""`farmgate certificate`: the gateway's TLS certificate."""

import os
from pathlib import Path

import click

from farmgate import certificates
from farmgate.parameters import WholeNumber
from farmgate.printing import echo

FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("certificate")
@click.argument("gateway", type=FOLDER)
@click.argument("authority", type=FOLDER)
@click.option(
    "--names",
    default="localhost,127.0.0.1",
    show_default=True,
    help="The gateway's host names and IP addresses, separated by commas.",
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
    """Make sure that the folder GATEWAY has a certificate and its key, and print its expiry.

    Without --given, the deployment's own CA in the folder AUTHORITY signs one; it is renewed a
    month before it expires or when the names change. A certificate from --given is never replaced.
    """
    hosts = [name.strip() for name in names.split(",") if name.strip()]
    if not hosts:
        raise click.BadParameter("give at least one name", param_hint="--names")
    until = (
        certificates.install(gateway, *given)
        if given
        else certificates.ensure(gateway, authority, hosts)
    )
    (gateway / "port.conf").write_text(_redirect(certificates.names(gateway, hosts), port))
    if owner is not None:
        for path in (gateway, *gateway.iterdir()):
            os.chown(path, owner, owner)
    echo(f"The gateway's certificate is valid until {until:%Y-%m-%d}.")
    if (gateway / certificates.AUTHORITY).exists():
        echo("The CA certificate, for tills to trust: GET /ca.crt at the gateway's HTTP port.")


def _redirect(names: list[str], port: int) -> str:
    """Return nginx maps for the redirect from HTTP to a name in the certificate."""
    hosts = [f"[{name}]" if ":" in name else name for name in names]
    # If all names are wildcards, redirect to the domain of the first.
    first = next((host for host in hosts if "*" not in host), hosts[0].removeprefix("*."))
    own = "".join(f' "{host}" $host;' for host in hosts)
    # 443 is the default port of HTTPS.
    shown = "" if port == 443 else f":{port}"
    return (
        f'map "" $tls_port {{ default "{shown}"; }}\n'
        f'map $host $tls_host {{ hostnames; default "{first}";{own} }}\n'
    )
